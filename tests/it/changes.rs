//! Changes in the sources become invalidations by themselves: what the triggers note, whom it concerns,
//! and that it reaches every instance.

use std::{sync::Mutex, time::Duration};

use sea_orm::{ConnectionTrait, Database, DatabaseBackend, Statement};
use serde_json::Value as Json;
use tokio::time::Instant;
use userdata::{
    changes::{self, Consumed, Outbox, TriggerState},
    model::{Invalidation, Section, SectionSet, StrategyId, UserId},
};
use userdata_migrations::{Tables, up};

use testkit::{
    ask::{get, of, stats},
    cluster::{Layout, cluster},
    command::userdata,
    database::{BOTH, Kind, TestDatabase, database},
    generations::Generation,
    server::{Client, Settings, serve},
    sources::sources,
    wait_for,
};

/// A reader of an outbox.
struct Notes {
    outbox: Outbox,
    consumed: Consumed,
}

impl Notes {
    /// What is noted from now on.
    async fn begin(place: &TestDatabase) -> Self {
        let outbox = Outbox::new(place.connect().await.into());
        let consumed = outbox.read(None).await.unwrap().consumed;
        Self { outbox, consumed }
    }

    /// Whom the notes since the last call concern, in a fixed order: user, strategy (0: all), sections. `*` is everyone.
    async fn read(&mut self) -> Vec<(String, i64, i64)> {
        let told = |change: &Invalidation<UserId>| match change {
            Invalidation::Of(scope) => {
                let strategy = scope.strategy.map_or(0, StrategyId::get);
                (scope.user.as_str().to_owned(), strategy, scope.sections.bits())
            }
            Invalidation::OfEveryone(sections) => ("*".to_owned(), 0, sections.bits()),
        };
        let reading = self.outbox.read(Some(&self.consumed)).await.unwrap();
        assert_eq!(reading.discontinuity, None);
        self.consumed = reading.consumed;
        let mut noted: Vec<_> = reading.changes.iter().map(told).collect();
        noted.sort();
        noted
    }
}

fn bits(sections: &[Section]) -> i64 {
    sections.iter().copied().collect::<SectionSet>().bits()
}

#[tokio::test]
async fn a_change_concerns_its_old_and_its_new_owner_and_the_sections_made_of_it() {
    use Section::{GapAnalysis, Onboarding, Performance, Recommendations, Strategy};
    let strategy = bits(&[Strategy, Performance, Recommendations]);
    let onboarding = bits(&[Onboarding]);
    let legacy = bits(&[Strategy, Performance, Recommendations, GapAnalysis]);
    for kind in BOTH {
        let sources = sources(kind).await;
        let place = &sources.database;
        sources.add_user("a", &[11]).await;
        sources.add_user("b", &[12]).await;
        let mut notes = Notes::begin(place).await;
        changes::install(&sources.db).await.unwrap();
        let everything = notes.read().await;
        assert!(everything.iter().all(|(user, ..)| user == "*"), "{kind:?}: changes before it may not have been noted");
        let owned = |user: &str, strategy, bits| (user.to_owned(), strategy, bits);
        for (statement, expected) in [
            (
                "INSERT INTO website_analyses (id, session_id, website_url) VALUES (1, 1, 'a.test')",
                vec![owned("a", 0, onboarding)],
            ),
            ("UPDATE website_analyses SET website_url = website_url", vec![]),
            ("UPDATE website_analyses SET updated_at = '2025-01-01 00:00:00'", vec![]),
            ("UPDATE website_analyses SET crawl_result = '{}'", vec![]),
            ("UPDATE website_analyses SET brand_analysis = '{\"a\": 1}'", vec![owned("a", 0, onboarding)]),
            ("UPDATE website_analyses SET brand_analysis = '{\"a\": 1}'", vec![]),
            ("UPDATE website_analyses SET session_id = 2", vec![owned("a", 0, onboarding), owned("b", 0, onboarding)]),
            (
                "INSERT INTO website_analyses (id, session_id, website_url) VALUES (2, 2, 'a.test')",
                vec![owned("b", 0, onboarding)],
            ),
            // One of two now, so that which is the newest matters.
            (
                "UPDATE website_analyses SET updated_at = '2025-02-01 00:00:00' WHERE id = 1",
                vec![owned("b", 0, onboarding)],
            ),
            ("DELETE FROM website_analyses", vec![owned("b", 0, onboarding)]),
            ("UPDATE enhanced_content_strategies SET name = 'x' WHERE id = 11", vec![owned("a", 11, strategy)]),
            ("UPDATE enhanced_content_strategies SET updated_at = '2025-01-01 00:00:00'", vec![]),
            (
                "UPDATE strategy_activation_status SET status = 'paused' WHERE strategy_id = 12",
                vec![owned("b", 12, strategy)],
            ),
            (
                "UPDATE enhanced_content_strategies SET user_id = 'b' WHERE id = 11",
                vec![owned("a", 11, strategy), owned("b", 11, strategy)],
            ),
            ("INSERT INTO content_strategies (id, user_id, name) VALUES (5, 7, 'legacy')", vec![owned("7", 0, legacy)]),
            (
                "INSERT INTO calendar_events (id, strategy_id, title, content_type, platform, scheduled_date) \
                 VALUES (1, 5, 't', 'blog', 'blog', '2025-01-01 00:00:00')",
                vec![owned("7", 0, bits(&[GapAnalysis, Performance]))],
            ),
            (
                "INSERT INTO content_analytics (id, event_id, platform) VALUES (1, 1, 'blog')",
                vec![owned("7", 0, bits(&[Performance]))],
            ),
            ("INSERT INTO content_analytics (id, platform) VALUES (2, 'nobody')", vec![]),
            ("UPDATE content_analytics SET performance_score = 0.5", vec![owned("7", 0, bits(&[Performance]))]),
            (
                "INSERT INTO content_recommendations (id, user_id, recommendation_type, title) VALUES (1, 7, 't', 't')",
                vec![owned("7", 0, bits(&[Recommendations]))],
            ),
        ] {
            place.execute(statement).await;
            assert_eq!(notes.read().await, expected, "{kind:?}: {statement}");
        }
        sources.rolled_back("UPDATE enhanced_content_strategies SET name = 'y'").await;
        assert_eq!(notes.read().await, [], "{kind:?}: what is rolled back was never changed");
        changes::remove(&sources.db).await.unwrap();
        let everything = notes.read().await;
        assert!(everything.iter().all(|(user, ..)| user == "*"), "{kind:?}: no change is noted from now on");
        place.execute("UPDATE enhanced_content_strategies SET name = 'z'").await;
        assert_eq!(notes.read().await, [], "{kind:?}: the triggers are gone");
    }
}

#[tokio::test]
async fn a_bulk_change_is_noted_once_per_owner_and_an_emptied_table_once() {
    let sources = sources(Kind::Postgres).await;
    let place = &sources.database;
    sources.add_user("a", &[]).await;
    sources.add_user("b", &[]).await;
    changes::install(&sources.db).await.unwrap();
    let onboarding = bits(&[Section::Onboarding]);
    let both = [("a".to_owned(), 0, onboarding), ("b".to_owned(), 0, onboarding)];
    let everyone = [("*".to_owned(), 0, onboarding)];
    let mut notes = Notes::begin(place).await;
    place.execute("DELETE FROM invalidation_outbox").await;
    for (statement, rows, expected) in [
        (
            "INSERT INTO seo_page_audits (user_id, website_url, page_url) \
             SELECT CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, 'w', 'p' || n FROM generate_series(1, 2000) n",
            2,
            &both[..],
        ),
        ("UPDATE seo_page_audits SET overall_score = 7", 2, &both[..]),
        // The rows are gone when the trigger runs.
        ("TRUNCATE seo_page_audits", 1, &everyone[..]),
    ] {
        place.execute(statement).await;
        let noted = place.rows("SELECT id FROM invalidation_outbox").await.len();
        assert_eq!((noted, &notes.read().await[..]), (rows, expected), "{statement}");
        place.execute("DELETE FROM invalidation_outbox").await;
    }
}

#[tokio::test]
async fn a_change_is_seen_on_every_instance_without_anybody_telling() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let cluster = cluster(layout).await;
        cluster.sources.add_user("1", &[11]).await;
        changes::install(&cluster.sources.db).await.unwrap();
        let settings = cluster.settings().with("sources.change_feed", true);
        let (one, two) = (serve(settings.clone()).await, serve(settings).await);
        let clients = [one.client().await, two.client().await];
        for count in 1..4 {
            cluster.sources.write(11, count).await;
            for client in &clients {
                wait_for("the change", async || (get(client, of("1")).await.unwrap().count == count).then_some(()))
                    .await;
                let again = get(client, of("1")).await.unwrap();
                assert_eq!(again.count, count, "{layout:?}: it does not go back");
            }
        }
        let counted = async || {
            let mut invalidations = 0;
            for client in &clients {
                invalidations += stats(client).await.changes.unwrap().invalidations;
            }
            // How many is left open: two instances may invalidate the same rows, and two changes may be one invalidation.
            (invalidations > 0).then_some(())
        };
        wait_for("changes to be counted", counted).await;
    }
}

/// How long readers at two instances go on after a change was committed without seeing it. No caller invalidates.
#[tokio::test]
async fn no_answer_is_much_older_than_a_change_while_somebody_writes_all_the_time() {
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let cluster = cluster(layout).await;
        cluster.sources.add_user("1", &[11]).await;
        changes::install(&cluster.sources.db).await.unwrap();
        let settings = cluster.settings().with("sources.change_feed", true);
        let (one, two) = (serve(settings.clone()).await, serve(settings).await);
        // When each count was committed.
        let committed: Mutex<Vec<Instant>> = Mutex::new(vec![Instant::now()]);
        let end = Instant::now() + Duration::from_secs(3);
        let write = async {
            // Longer, if the machine is so busy that hardly anything has happened.
            while Instant::now() < end || committed.lock().unwrap().len() < 5 {
                let count = committed.lock().unwrap().len();
                cluster.sources.write(11, count.try_into().unwrap()).await;
                committed.lock().unwrap().push(Instant::now());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let read = async |client: Client| {
            let (mut answers, mut oldest) = (0, Duration::ZERO);
            while Instant::now() < end || answers < 5 {
                let asked = Instant::now();
                let count = usize::try_from(get(&client, of("1")).await.unwrap().count).unwrap();
                let missed = committed.lock().unwrap().get(count + 1).copied();
                oldest = oldest.max(missed.map_or(Duration::ZERO, |missed| asked.saturating_duration_since(missed)));
                answers += 1;
            }
            (answers, oldest)
        };
        let ((), near, far) = tokio::join!(write, read(one.client().await), read(two.client().await));
        let changes = committed.lock().unwrap().len() - 1;
        eprintln!("{layout:?}: {changes} changes; answers, and how long a change was not seen: {near:?}, {far:?}");
        // The relay's poll and the lease are 0.6 s; a busy machine may not get round to relaying in time.
        assert!(near.1.max(far.1) < Duration::from_secs(10), "{layout:?}");
    }
}

#[tokio::test]
async fn changes_reach_a_cache_that_has_another_database() {
    let cluster = cluster(Layout::SqliteBesidePostgres).await;
    cluster.sources.add_user("1", &[11]).await;
    changes::install(&cluster.sources.db).await.unwrap();
    let settings = cluster.settings().with("sources.change_feed", true);
    let settings = settings.with("sources.relay_database_url", &cluster.sources.database.url);
    let server = serve(settings).await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();
    cluster.sources.write(11, 1).await;
    wait_for("the change", async || (get(&client, of("1")).await.unwrap().count == 1).then_some(())).await;
    wait_for("an empty outbox", async || (stats(&client).await.changes?.backlog? == 0).then_some(())).await;
}

#[tokio::test]
async fn the_embedded_database_notes_changes_from_its_start() {
    let place = database(Kind::Sqlite).await;
    let _server = serve(Settings::on(&place.url).with("sources.change_feed", true)).await;
    let states = changes::status(&place.connect().await).await.unwrap();
    assert!(states.iter().all(|table| table.state == TriggerState::Installed), "{states:?}");
}

#[tokio::test]
async fn triggers_are_installed_shown_and_removed_by_command() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let command = async |what: &str| userdata(&["triggers", what, "--database-url", &sources.database.url]).await;
        let states = async || {
            let status = ["triggers", "status", "-o", "json", "--database-url", &sources.database.url];
            let status: Json = serde_json::from_str(&userdata(&status).await.output()).unwrap();
            let mut states: Vec<_> =
                status.as_array().unwrap().iter().map(|row| row["triggers"].as_str().unwrap().to_owned()).collect();
            states.dedup();
            states
        };
        assert_eq!(states().await, ["absent"], "{kind:?}");
        for _ in 0..2 {
            assert!(command("install").await.output().starts_with("installed"), "{kind:?}");
            assert_eq!(states().await, ["installed"], "{kind:?}");
        }
        let (drop, drop_on) = ("DROP TRIGGER userdata_calendar_events_insert", " ON calendar_events");
        let drop = if kind == Kind::Sqlite { drop.to_owned() } else { format!("{drop}{drop_on}") };
        sources.database.execute(&drop).await;
        assert_eq!(states().await, ["installed", "outdated", "installed"], "{kind:?}");
        assert!(command("remove").await.output().starts_with("removed"), "{kind:?}");
        assert_eq!(states().await, ["absent"], "{kind:?}");

        sources.database.execute("ALTER TABLE calendar_events RENAME COLUMN title TO heading").await;
        sources.database.execute("DROP TABLE persona_data").await;
        let installed = command("install").await.output();
        let missing = "COLUMN_MISSING calendar_events.title";
        assert!(
            installed.contains(missing) && installed.contains("TABLE_MISSING persona_data"),
            "{kind:?}: {installed}"
        );
        assert_eq!(states().await, ["installed", "table missing", "installed"], "{kind:?}");
        let elsewhere = database(kind).await;
        up(&elsewhere.connect().await, Tables::Cache).await.unwrap();
        let refused = userdata(&["triggers", "install", "--database-url", &elsewhere.url]).await;
        let line = crate::command_line::complaint(&refused, 9);
        assert!(line.contains("none of the tables onboarding_sessions"), "{kind:?}: {line}");
    }
}

#[tokio::test]
async fn the_applications_file_keeps_its_journal_mode_and_is_no_cache() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("application.db").display());
    let application = Database::connect(format!("{url}?mode=rwc")).await.unwrap();
    application.execute_unprepared(&Generation::Newest.schema(Kind::Sqlite)).await.unwrap();
    let mode = async || {
        let statement = Statement::from_string(DatabaseBackend::Sqlite, "PRAGMA journal_mode");
        application.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index::<String>(0).unwrap()
    };
    assert_eq!(mode().await, "delete");
    assert!(userdata(&["triggers", "install", "--database-url", &url]).await.output().starts_with("installed"));
    for command in [&["migrate", "up"][..], &["demo", "seed"]] {
        let refused = userdata(&[command, &["--database-url", &url]].concat()).await;
        let line = crate::command_line::complaint(&refused, 9);
        assert!(line.contains("sources.database_url"), "{command:?}: {line}");
        assert_eq!(mode().await, "delete", "{command:?}");
    }
}
