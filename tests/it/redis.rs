//! Redis as it is deployed, and what it does to its data: sentinels, shards, old dumps, lost writes.
//! No answer becomes wrong by it, and no call fails.

mod episodes;
mod failover;
mod shards;

use std::sync::Arc;

use userdata::proto::v1::CacheStatus;

use testkit::{
    ask::{everything_of, get, invalidate, of, stats},
    cluster::{Cluster, Layout, cluster},
    oracle::{Oracle, User, users},
    server::{Client, Server, serve},
    wait_for,
};

/// So many that each is asked for often, and has been invalidated since any dump that is put back.
const USERS: i32 = 8;

/// Two instances on one PostgreSQL and one Redis, whatever stands behind its URL.
struct Two {
    cluster: Cluster,
    near: Client,
    far: Client,
    users: Vec<Arc<User>>,
    _servers: [Server; 2],
}

async fn two(redis_url: &str) -> Two {
    let cluster = cluster(Layout::Postgres).await;
    let users = users(&cluster, USERS).await;
    let settings = cluster.settings().with("redis.url", redis_url);
    // Long enough for a busy machine. And short-lived in memory: what is asked for here is in Redis.
    let settings = settings.with("redis.timeout", "250ms").with("memory.ttl", "20ms");
    // As rarely as the lease allows, so that notifications come first.
    let settings = settings.with("invalidation_log.poll", "240ms");
    let servers = [serve(settings.clone()).await, serve(settings).await];
    let (near, far) = (servers[0].client().await, servers[1].client().await);
    Two { cluster, near, far, users, _servers: servers }
}

impl Two {
    /// Load on both, once Redis is in use.
    async fn under_load(&self) -> Oracle {
        let oracle = Oracle::start(&self.cluster, &self.users, &self.near, Some(&self.far));
        oracle.more_from(CacheStatus::HitRedis, 20).await;
        oracle
    }

    /// Old records that were found and refused.
    async fn superseded(&self) -> i64 {
        stats(&self.near).await.superseded + stats(&self.far).await.superseded
    }

    /// Calls of Redis that failed.
    async fn errors_of_redis(&self) -> i64 {
        stats(&self.near).await.tiers[1].errors + stats(&self.far).await.tiers[1].errors
    }

    /// Each of the two finds in Redis what the other has stored, and knows by a notification what the other has invalidated.
    async fn share_redis(&self) {
        let user = &self.users[0];
        for (here, there) in [(&self.near, &self.far), (&self.far, &self.near)] {
            wait_for("a notification", async || {
                let before = stats(there).await.invalidation_log.unwrap().notifications;
                invalidate(here, everything_of(&user.name)).await.unwrap();
                get(here, of(&user.name)).await.unwrap();
                (stats(there).await.invalidation_log.unwrap().notifications > before).then_some(())
            })
            .await;
            wait_for("the document in Redis", async || {
                (get(there, of(&user.name)).await.unwrap().status == CacheStatus::HitRedis).then_some(())
            })
            .await;
        }
    }
}
