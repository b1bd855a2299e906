//! One instance alone can be cut off: the ground that tests of partitions stand on.

use testkit::{
    ask::{get, of},
    cluster::{Layout, cluster},
    lines::by_lines,
    proxy::Network,
    server::serve,
    wait_for,
};
use userdata::proto::v1::CacheStatus;

#[tokio::test]
async fn an_instance_can_be_cut_off_from_redis_and_from_the_cache_database() {
    let cluster = cluster(Layout::PostgresBesidePostgres).await.with_redis().await;
    cluster.sources.add_user("1", &[11]).await;
    let (settings, lines) = by_lines(cluster.settings()).await;
    let (redis, database) = (lines.redis.unwrap(), lines.database.unwrap());
    let first = serve(settings.clone()).await;
    assert_eq!(get(&first.client().await, of("1")).await.unwrap().facts(), (CacheStatus::Assembled, 0));
    cluster.has_stored(1).await;

    redis.set(Network::Refuse);
    let second = serve(settings).await;
    let client = second.client().await;
    assert_eq!(get(&client, of("1")).await.unwrap().facts(), (CacheStatus::HitDatabase, 0));
    database.set(Network::Refuse);
    wait_for("the lease to lapse", async || {
        let answer = get(&client, of("1")).await.unwrap();
        assert_eq!(answer.facts(), (CacheStatus::HitMemory, 0));
        (!answer.verified).then_some(())
    })
    .await;
    database.restore();
    let verified = async || get(&client, of("1")).await.unwrap().verified.then_some(());
    wait_for("the log to be read again", verified).await;
}
