//! Whether the triggers are there is seen by the reading that relies on them; installing them harms no one.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::{
    database::{BOTH, Kind, TestDatabase},
    sources::sources,
};
use tokio::time::timeout;
use userdata::{
    changes::{self, Progress, TriggerState},
    model::{
        Section::{self, GapAnalysis, Onboarding, Performance},
        SectionSet,
    },
};

use super::{Cluster, told, watched};

/// The statements that create a table as it is, and its rows are gone.
fn created_anew(table: &str, kind: Kind) -> [String; 4] {
    let cascade = if kind == Kind::Postgres { " CASCADE" } else { "" };
    [
        format!("CREATE TABLE copy_of_{table} AS SELECT * FROM {table}"),
        format!("DROP TABLE {table}{cascade}"),
        format!("CREATE TABLE {table} AS SELECT * FROM copy_of_{table} WHERE 1 = 0"),
        format!("DROP TABLE copy_of_{table}"),
    ]
}

#[tokio::test]
async fn tables_that_are_dropped_and_created_between_two_readings_are_told() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let mut cluster = watched(&sources).await;
        for statement in created_anew("calendar_events", kind) {
            sources.database.execute(&statement).await;
        }
        changes::install(&sources.db).await.unwrap();
        let reading = cluster.read().await;
        assert!(reading.unwatched.is_empty(), "{kind:?}: {reading:?}");
        let expected: SectionSet = match kind {
            Kind::Postgres => [GapAnalysis, Performance].into_iter().collect(),
            // SQLite says only that something in the file was created.
            Kind::Sqlite => all_sections(),
        };
        assert_eq!(told(&reading), [format!("* {}", expected.bits())], "{kind:?}");
        assert_eq!(cluster.told().await, [""; 0], "{kind:?}: once");
    }
}

/// All sections that are read from tables.
fn all_sections() -> SectionSet {
    use Section::{Recommendations, Strategy};
    [Onboarding, Strategy, GapAnalysis, Performance, Recommendations].into_iter().collect()
}

async fn unwatched_after(place: &TestDatabase, cluster: &mut Cluster, statement: &str) -> Vec<Section> {
    place.execute(statement).await;
    cluster.read().await.unwatched.iter().collect()
}

#[tokio::test]
async fn triggers_that_are_missing_disabled_or_altered_are_seen_and_repaired() {
    let calendar = [GapAnalysis, Performance];
    for kind in BOTH {
        let sources = sources(kind).await;
        let place = &sources.database;
        let mut cluster = watched(&sources).await;
        let of_postgres = [
            "ALTER TABLE calendar_events DISABLE TRIGGER USER",
            "ALTER TABLE calendar_events ENABLE TRIGGER USER",
            "DROP TRIGGER userdata_calendar_events_truncate ON calendar_events",
            "CREATE OR REPLACE FUNCTION userdata_calendar_events() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RETURN NULL; END'",
            "ALTER FUNCTION userdata_calendar_events() RESET ALL",
            "DROP FUNCTION userdata_calendar_events() CASCADE",
        ];
        let of_sqlite = [
            "DROP TRIGGER userdata_calendar_events_update",
            "ALTER TABLE calendar_events RENAME COLUMN title TO heading",
        ];
        let statements = if kind == Kind::Postgres { &of_postgres[..] } else { &of_sqlite[..] };
        for statement in statements {
            assert_eq!(unwatched_after(place, &mut cluster, statement).await, calendar, "{kind:?}: {statement}");
            cluster.outbox.repair().await.unwrap();
            let reading = cluster.read().await;
            assert!(reading.unwatched.is_empty(), "{kind:?}: {statement}");
            assert!(!reading.changes.is_empty(), "{kind:?}: {statement}: changes before it were not noted");
        }
        let everything: Vec<Section> = all_sections().iter().collect();
        place.execute("DROP TABLE invalidation_outbox").await;
        assert_eq!(cluster.read().await.unwatched.iter().collect::<Vec<_>>(), everything, "{kind:?}");
        cluster.outbox.repair().await.unwrap();
        let reading = cluster.outbox.read(Some(&cluster.consumed)).await.unwrap();
        assert!(reading.unwatched.is_empty(), "{kind:?}: {reading:?}");
        assert!(reading.discontinuity.is_some() || !reading.changes.is_empty(), "{kind:?}: notes are lost");
    }
}

#[tokio::test]
async fn an_outbox_of_an_older_shape_is_replaced_without_an_error_and_with_a_note_of_everything() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let place = &sources.database;
        sources.add_user("a", &[11]).await;
        let id = if kind == Kind::Postgres { "BIGINT GENERATED ALWAYS AS IDENTITY" } else { "INTEGER" };
        for statement in [
            "DROP TABLE invalidation_outbox",
            &format!(
                "CREATE TABLE invalidation_outbox (id {id} PRIMARY KEY, user_id TEXT, strategy_id BIGINT, sections BIGINT)"
            ),
            "INSERT INTO invalidation_outbox (user_id, sections) VALUES ('a', 1)",
        ] {
            place.execute(statement).await;
        }
        let mut cluster = Cluster::begin(place).await;
        assert_eq!(cluster.read().await.unwatched, all_sections(), "{kind:?}: it cannot be read");
        changes::install(&sources.db).await.unwrap();
        let reading = cluster.read().await;
        assert!(reading.unwatched.is_empty(), "{kind:?}");
        let of_everyone = told(&reading);
        assert!(of_everyone.len() == 1 && of_everyone[0].starts_with("* "), "{kind:?}: {of_everyone:?}");
        sources.write(11, 1).await;
        assert!(cluster.told().await[0].starts_with("a/11 "), "{kind:?}");
    }
}

#[tokio::test]
async fn installing_neither_waits_for_readers_nor_lets_them_wait() {
    let sources = sources(Kind::Postgres).await;
    let reader = sources.db.begin().await.unwrap();
    reader.execute_unprepared("SELECT * FROM website_analyses").await.unwrap();
    timeout(Duration::from_secs(20), changes::install(&sources.db)).await.expect("no wait for a reader").unwrap();

    // A writer holds the table: meanwhile others read and write.
    sources.database.execute("DROP FUNCTION userdata_calendar_events() CASCADE").await;
    let writer = sources.db.begin().await.unwrap();
    writer.execute_unprepared("UPDATE calendar_events SET status = 'y' WHERE id = 0").await.unwrap();
    let waiting = tokio::sync::Notify::new();
    let progress = |progress| {
        if progress == Progress::Waiting("calendar_events") {
            waiting.notify_one();
        }
    };
    let others = async {
        timeout(Duration::from_secs(20), waiting.notified()).await.expect("it waits for the writer");
        let write = sources.db.execute_unprepared("UPDATE calendar_events SET status = 'x' WHERE id = 0");
        timeout(Duration::from_secs(20), write).await.expect("no queue behind it").unwrap();
        let read = sources.db.execute_unprepared("SELECT * FROM calendar_events");
        timeout(Duration::from_secs(20), read).await.expect("no queue behind it").unwrap();
        writer.commit().await.unwrap();
    };
    let (installed, ()) = tokio::join!(changes::install_with(&sources.db, progress), others);
    installed.unwrap();
    reader.commit().await.unwrap();
    let states = changes::status(&sources.db).await.unwrap();
    assert!(states.iter().all(|of| of.state == TriggerState::Installed), "{states:?}");
}

#[tokio::test]
async fn what_triggers_cannot_see_is_unwatched_and_costs_nothing_else() {
    for kind in BOTH {
        let sources = sources(kind).await;
        let place = &sources.database;
        let mut cluster = watched(&sources).await;
        let view = "ALTER TABLE seo_page_audits RENAME TO whole; CREATE VIEW seo_page_audits AS SELECT * FROM whole";
        let back = "DROP VIEW seo_page_audits; ALTER TABLE whole RENAME TO seo_page_audits";
        let child = "CREATE TABLE more_audits () INHERITS (seo_page_audits)";
        let cases = [(view, back), (child, "DROP TABLE more_audits")];
        for (statement, undone) in cases.into_iter().take(if kind == Kind::Postgres { 2 } else { 1 }) {
            let unwatched = unwatched_after(place, &mut cluster, statement).await;
            assert_eq!(unwatched, [Onboarding], "{kind:?}: {statement}");
            changes::install(&sources.db).await.unwrap();
            let states = changes::status(&sources.db).await.unwrap();
            let of = |state| states.iter().filter(|of| of.state == state).count();
            assert_eq!((of(TriggerState::Unwatchable), of(TriggerState::Installed)), (1, 16), "{kind:?}: {states:?}");
            assert!(cluster.read().await.changes.is_empty(), "{kind:?}: nothing was installed anew");
            place.execute(undone).await;
            changes::install(&sources.db).await.unwrap();
            assert!(cluster.read().await.unwatched.is_empty(), "{kind:?}: {undone}");
        }
    }
}
