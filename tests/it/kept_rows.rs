//! What a document's sections were made from lies beside them: an edit of the strategy reads no row of onboarding
//! again, whichever instance and tier the document is found in, and asks no model unless its input has changed.

use std::{sync::Arc, time::Duration};

use sea_orm::DatabaseConnection;
use userdata::{
    aggregate::{Plan, onboarding},
    changes,
    model::{Parameters, Section, SectionSet, UserDataQuery, UserId, section::SECTIONS},
    proto::v1::{CacheStatus, GetComprehensiveUserDataResponse},
};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    ask::{runs, stats},
    assembly::{DEMO_USERS, aggregator, assemble, base_day, noon, patient},
    database::{BOTH, Kind, execute},
    get::{complete, get, status},
    redis::redis,
    seeded::{seeded, seeded_today},
    server::{Client, Settings, serve},
    wait_for,
};

/// Renames the user's strategies and waits until the document says so.
async fn rename(db: &DatabaseConnection, client: &mut Client, name: &str) -> GetComprehensiveUserDataResponse {
    execute(db, &format!("UPDATE enhanced_content_strategies SET name = '{name}' WHERE user_id = '1'")).await;
    let reply = wait_for("the new name", async || {
        let reply = get(client, "1").await;
        let strategy = reply.data.as_ref().unwrap().strategy_data.clone().unwrap();
        (strategy.strategy_name == name).then_some(reply)
    })
    .await;
    assert!(complete(&reply), "{:?}", reply.sections);
    reply
}

fn watching(database_url: &str) -> Settings {
    Settings::on(database_url).with("sources.change_feed", true)
}

#[tokio::test]
async fn a_strategy_edit_makes_no_onboarding_query() {
    for kind in BOTH {
        let (place, db) = seeded_today(kind).await;
        changes::install(&db).await.unwrap();
        let server = serve(watching(&place.url)).await;
        server.has_read_the_outbox().await;
        let mut client = server.client().await;
        assert_eq!(status(&get(&mut client, "1").await), CacheStatus::Assembled);
        for name in ["first", "second"] {
            rename(&db, &mut client, name).await;
        }
        let stats = stats(&client).await;
        let runs = runs(&stats);
        assert!(runs.contains(&("onboarding", 1)), "{kind:?}: {runs:?}");
        assert!(runs.iter().any(|(source, runs)| *source == "gap_analysis" && *runs >= 3), "{kind:?}: {runs:?}");
        let section = |section: Section| stats.sections.iter().find(|stats| stats.section() == section).unwrap();
        let (onboarding, strategy) = (section(Section::Onboarding), section(Section::Strategy));
        // Of one edit there may be two invalidations.
        assert!(onboarding.read == 1 && onboarding.reused >= 2, "{kind:?}: {onboarding:?}");
        assert!(strategy.read >= 3 && strategy.reused == 0, "{kind:?}: {strategy:?}");
    }
}

#[tokio::test]
async fn it_makes_none_on_an_instance_that_finds_the_document_in_another_tier() {
    let redis = redis().await;
    for with_redis in [true, false] {
        let (place, db) = seeded_today(Kind::Postgres).await;
        changes::install(&db).await.unwrap();
        let mut settings = watching(&place.url);
        if with_redis {
            settings = settings.with("redis.url", redis.url());
        }
        let (one, two) = (serve(settings.clone()).await, serve(settings).await);
        for server in [&one, &two] {
            server.has_read_the_outbox().await;
        }
        get(&mut one.client().await, "1").await;
        place.wait_for_documents(1).await;
        // It has never seen this user.
        let mut client = two.client().await;
        rename(&db, &mut client, "elsewhere").await;
        assert!(runs(&stats(&client).await).contains(&("onboarding", 0)), "Redis: {with_redis}");
        redis.command("FLUSHALL").await;
    }
}

#[tokio::test]
async fn a_change_of_onboarding_reads_it_again() {
    let (place, db) = seeded_today(Kind::Sqlite).await;
    changes::install(&db).await.unwrap();
    let server = serve(watching(&place.url)).await;
    server.has_read_the_outbox().await;
    let mut client = server.client().await;
    get(&mut client, "1").await;
    rename(&db, &mut client, "first").await;
    execute(&db, "UPDATE persona_data SET selected_platforms = '[\"mastodon\"]'").await;
    let reply = wait_for("the platform", async || {
        let reply = get(&mut client, "1").await;
        reply.data.as_ref().unwrap().platform_preferences.contains_key("mastodon").then_some(reply)
    })
    .await;
    let read = reply.data.unwrap().onboarding_data.unwrap();
    assert_eq!(read.platform_preferences, ["mastodon"]);
    let renamed = rename(&db, &mut client, "second").await;
    assert!(renamed.data.unwrap().platform_preferences.contains_key("mastodon"), "made from the new rows");
}

#[tokio::test]
async fn an_edit_asks_the_model_only_if_its_input_has_changed() {
    let (place, db) = seeded_today(Kind::Sqlite).await;
    changes::install(&db).await.unwrap();
    let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
    let settings = watching(&place.url).with("ai.base_url", ai.base_url()).with("ai.model", "fake-1");
    let server = serve(settings).await;
    server.has_read_the_outbox().await;
    let mut client = server.client().await;
    get(&mut client, "1").await;
    assert_eq!(ai.calls(), 1);
    for name in ["first", "second"] {
        rename(&db, &mut client, name).await;
    }
    assert_eq!(ai.calls(), 1, "the model is not told a strategy's name");
    execute(&db, "UPDATE enhanced_content_strategies SET industry = 'fishery' WHERE user_id = '1'").await;
    rename(&db, &mut client, "third").await;
    wait_for("another call", async || (ai.calls() == 2).then_some(())).await;
}

#[tokio::test]
async fn what_is_made_from_kept_rows_is_what_is_made_from_rows_read_anew() {
    let (_place, db) = seeded(Kind::Sqlite, base_day()).await;
    let aggregator = aggregator(&db, &patient());
    let sections: SectionSet = SECTIONS.into_iter().filter(|section| *section != Section::Onboarding).collect();
    let (mut kept_bytes, mut section_bytes, mut row_bytes) = (0, 0, 0);
    for user in DEMO_USERS {
        let read = assemble(&aggregator, user, None, noon()).await.unwrap();
        let part = read.parts.iter().find(|part| part.facts.section == Section::Onboarding).unwrap();
        let known = onboarding::restore(&part.rows, &part.bytes).unwrap();
        kept_bytes += part.rows.len();
        row_bytes += serde_json::to_vec(&known).unwrap().len();
        section_bytes += read.parts.iter().map(|part| part.bytes.len()).sum::<usize>();
        let plan = Plan {
            sections,
            as_of: noon(),
            refresh: false,
            budget: Duration::from_secs(60),
            onboarding: Some(Arc::new(known)),
            ai_calls: None,
        };
        let query = UserDataQuery::new(UserId::parse(user).unwrap(), None, Parameters::none());
        let made = aggregator.aggregate(&query, &plan).await.unwrap();
        assert_eq!(made.parts.len(), SECTIONS.len() - 1);
        for part in made.parts {
            let other = read.parts.iter().find(|other| other.facts.section == part.facts.section).unwrap();
            assert_eq!((part.bytes, part.facts.state), (other.bytes.clone(), other.facts.state), "{user}");
        }
    }
    let users = DEMO_USERS.len();
    eprintln!(
        "beside {} bytes of document: {} bytes of {} bytes of rows",
        section_bytes / users,
        kept_bytes / users,
        row_bytes / users
    );
}
