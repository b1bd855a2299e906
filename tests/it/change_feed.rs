//! From a writer's commit in the sources to every reader: no caller invalidates here.

mod clusters;
mod figures;
mod losses;
mod takeovers;
mod triggers;
mod writers;

use std::time::Duration;

use tokio::time::Instant;
use userdata::{
    changes,
    proto::v1::{Changes, Freshness, GetComprehensiveUserDataRequest},
};

use testkit::{
    ask::{Answer, get, is_verified, of},
    cluster::Cluster,
    server::{Client, Server, Settings, serve},
    wait_for,
};

/// A verified answer has every change that was committed so long before it was asked for.
const LEASE: Duration = Duration::from_secs(1);

/// Instances of a cluster whose tables have triggers. User 1 has strategy 11.
struct Fed {
    cluster: Cluster,
    servers: Vec<Server>,
    clients: Vec<Client>,
}

fn with_feed(cluster: &Cluster) -> Settings {
    let settings = cluster.settings().with("sources.change_feed", true);
    settings.with("sources.relay_database_url", &cluster.sources.database.url)
}

async fn fed(cluster: Cluster, instances: usize) -> Fed {
    let settings = with_feed(&cluster);
    fed_with(cluster, vec![settings; instances]).await
}

async fn fed_with(cluster: Cluster, settings: Vec<Settings>) -> Fed {
    cluster.sources.add_user("1", &[11]).await;
    changes::install(&cluster.sources.db).await.unwrap();
    let mut servers = Vec::new();
    for settings in settings {
        servers.push(serve(settings).await);
    }
    let mut fed = Fed { cluster, servers, clients: Vec::new() };
    for server in &fed.servers {
        fed.clients.push(server.client().await);
    }
    for client in &fed.clients {
        wait_for("the outbox to be read", async || (changes_of(client).await == Changes::Known).then_some(())).await;
        is_verified(client, 0).await;
    }
    fed
}

/// How the answers to one reader kept what is promised, for a while after a change to this count was committed.
#[derive(Debug, Default)]
struct Observed {
    answers: usize,
    unverified: usize,
}

/// Asks again and again for so long; each verified answer must be right.
async fn observe(client: &Client, count: i64, committed: Instant, longest: Duration) -> Observed {
    let mut observed = Observed::default();
    while committed.elapsed() < longest {
        let asked = committed.elapsed();
        let answer = get(client, of("1")).await.unwrap();
        observed.answers += 1;
        observed.unverified += usize::from(!answer.verified);
        assert!(
            answer.count == count || !answer.verified || asked < LEASE,
            "outdated and verified {asked:?} after the commit: {answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    observed
}

async fn get_with(client: &Client, freshness: Freshness) -> Result<Answer, tonic::Status> {
    get(client, GetComprehensiveUserDataRequest { freshness: freshness.into(), ..of("1") }).await
}

async fn changes_of(client: &Client) -> Changes {
    let response = client.clone().get_comprehensive_user_data(of("1")).await.unwrap().into_inner();
    response.cache_info.unwrap().changes()
}
