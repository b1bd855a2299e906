//! A key database out of reach costs stored values, and nothing else.

use super::*;

#[tokio::test]
async fn while_the_key_database_is_down_memory_answers_and_nothing_is_stored() {
    let cluster = with_users(Layout::PostgresBesidePostgres).await.with_redis().await;
    let keys = key_database(Kind::Postgres).await;
    let settings = keys.encrypting(cluster.settings());
    let server = serve(settings.clone()).await;
    let client = server.client().await;
    get(&client, of("1")).await.unwrap();
    cluster.has_stored(1).await;
    keys.database.shut().await;

    assert_eq!(get(&client, of("1")).await.unwrap().status, CacheStatus::HitMemory);
    // It has no keys in memory.
    let other = serve(settings).await;
    let client = other.client().await;
    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 0));
    get(&client, of("2")).await.unwrap();
    // Both documents, behind their answers.
    wait_for("what is not stored", async || {
        let (_, page) = other.probe("/metrics").await;
        let skipped = |tier: &str| {
            let labels = ["userdata_cache_writes_total", "skipped", tier];
            let line = page.lines().find(|line| labels.iter().all(|label| line.contains(label)));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_else(|| panic!("{page}"))
        };
        (skipped("redis") >= 2.0 && skipped("database") >= 2.0).then_some(())
    })
    .await;
    for tier in &stats(&client).await.tiers[1..] {
        assert!(tier.last_error.contains("the key database") && tier.breaker_state == "closed", "{tier:?}");
    }
    assert_eq!(cluster.rows().await, 1, "nothing is stored in clear, nor by an unknown key");

    keys.database.open().await;
    let stored = async || {
        invalidate(&client, everything_of("2")).await.unwrap();
        get(&client, of("2")).await.unwrap();
        (cluster.rows().await == 2).then_some(())
    };
    wait_for("documents to be stored again", stored).await;
    // Redis still has it: a value that could not be read for lack of a key is not taken for garbage.
    let third = serve(keys.encrypting(cluster.settings())).await;
    let answer = get(&third.client().await, of("1")).await.unwrap();
    assert!(matches!(answer.status, CacheStatus::HitRedis | CacheStatus::HitDatabase), "{answer:?}");
}
