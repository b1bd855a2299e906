//! A server compares what it serves with the sources, behind its answers, and says what it has found.

use userdata::{changes, proto::v1::StalenessCheckStats};

use testkit::{
    ask::stats,
    database::{Kind, execute},
    get::get,
    seeded::seeded_today,
    server::{Client, Settings, serve},
    wait_for,
};

async fn found(client: &Client) -> StalenessCheckStats {
    stats(client).await.staleness_check.unwrap()
}

#[tokio::test]
async fn what_is_written_past_the_triggers_is_found_behind_the_answers() {
    let (place, db) = seeded_today(Kind::Sqlite).await;
    changes::install(&db).await.unwrap();
    let settings = Settings::on(&place.url).with("sources.change_feed", true);
    let server = serve(settings.with("staleness_check.share", 1).with("staleness_check.every", "10ms")).await;
    let mut client = server.client().await;
    get(&mut client, "demo_anna").await;
    wait_for("comparisons", async || {
        get(&mut client, "demo_anna").await;
        (found(&client).await.compared > 3).then_some(())
    })
    .await;
    assert_eq!(found(&client).await.stale, 0);

    changes::remove(&db).await.unwrap();
    // Everything is read again once.
    wait_for("the loss to be noticed", async || {
        get(&mut client, "demo_anna").await;
        (!stats(&client).await.changes?.unwatched.is_empty()).then_some(())
    })
    .await;
    get(&mut client, "demo_anna").await;
    execute(&db, "UPDATE persona_data SET selected_platforms = '[\"mastodon\"]'").await;
    // Onboarding, and the keys that are derived from it.
    let stale = async || {
        get(&mut client, "demo_anna").await;
        Some(found(&client).await).filter(|found| found.stale >= 2)
    };
    let seen = wait_for("the finding", stale).await;
    assert_eq!(seen.stale, 2);
    let inspected = seen.compared + 3;
    wait_for("more comparisons", async || {
        get(&mut client, "demo_anna").await;
        (found(&client).await.compared > inspected).then_some(())
    })
    .await;
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("stale section served")).collect();
    assert_eq!(told.len(), 2, "each is told once: {told:?}");
    assert!(!log.contains("demo_anna"), "{log}");
}
