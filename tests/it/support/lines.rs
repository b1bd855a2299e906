//! An instance's own lines to Redis and to the cache's database, so that it alone can be cut off.
//! The sources are reached directly: a tier that is broken must never cost an answer.

use super::{proxy::Proxy, server::Settings};

/// What an instance has of these; a file needs no line.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) redis: Option<Proxy>,
    pub(crate) database: Option<Proxy>,
}

/// The same settings, by lines of their own.
pub(crate) async fn by_lines(mut settings: Settings) -> (Settings, Lines) {
    let lines = Lines {
        redis: line(&mut settings, "USERDATA__REDIS__URL").await,
        database: line(&mut settings, "USERDATA__DATABASE__URL").await,
    };
    (settings, lines)
}

async fn line(settings: &mut Settings, variable: &str) -> Option<Proxy> {
    let (_, url) = settings.environment.iter_mut().rfind(|(name, _)| name == variable)?;
    let (_, after) = url.split_once("127.0.0.1:")?;
    let port = after.split(|c: char| !c.is_ascii_digit()).next()?.parse().expect("a port");
    let proxy = Proxy::before(port).await;
    *url = proxy.url(url);
    Some(proxy)
}

#[tokio::test]
async fn an_instance_can_be_cut_off_from_redis_and_from_the_cache_database() {
    use super::{
        ask::{get, of},
        cluster::{Layout, cluster},
        proxy::Network,
        server::serve,
    };
    use userdata::proto::v1::CacheStatus;

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
    super::wait_for("the lease to lapse", async || {
        let answer = get(&client, of("1")).await.unwrap();
        assert_eq!(answer.facts(), (CacheStatus::HitMemory, 0));
        (!answer.verified).then_some(())
    })
    .await;
    database.restore();
    let verified = async || get(&client, of("1")).await.unwrap().verified.then_some(());
    super::wait_for("the log to be read again", verified).await;
}
