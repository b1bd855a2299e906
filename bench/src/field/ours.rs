//! userdata: the whole service in this process, with its defaults, called over a real gRPC connection. The libraries
//! answer by a function call; userdata's figures include the connection.

use sea_orm::ConnectionTrait;
use std::time::Duration;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Channel, Endpoint};
use userdata::{
    app::{App, Listeners},
    config::{Config, Secret},
    proto::v1::{
        GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataRequest, InvalidateCacheRequest,
        user_data_service_client::UserDataServiceClient,
    },
    telemetry::Telemetry,
};

use testkit::{
    database::Kind,
    sources::{OF_STRATEGY, Sources, sources},
    wait_for,
};

/// One instance, and a connection to it.
#[derive(Debug)]
pub(crate) struct Ours {
    client: UserDataServiceClient<Channel>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Ours {
    /// Starts an instance and waits until it answers.
    pub(crate) async fn start(database_url: &str, redis_url: &str) -> Self {
        let mut config = Config::default();
        config.database.url = Secret::new(database_url);
        config.redis.url = Some(Secret::new(redis_url));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probes_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let stop = CancellationToken::new();
        let app = Box::pin(App::connect(config, Telemetry::quiet())).await.unwrap();
        let listeners = Listeners { grpc: listener, http: None, probes: probes_listener };
        let running = app.run(listeners, stop.clone().cancelled_owned());
        let ended = TaskTracker::new().spawn(async move { Box::pin(running).await.unwrap() });
        let client = UserDataServiceClient::new(endpoint.tcp_nodelay(true).connect().await.unwrap());
        let ours = Self { client, stop, ended };
        ours.stats().await;
        ours
    }

    pub(crate) async fn get(&self, user: &str) -> Result<i64, String> {
        let request = GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() };
        let answer = self.client.clone().get_comprehensive_user_data(request).await;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        Ok(answer.data.unwrap().strategy_data.unwrap().strategy_name.parse().unwrap())
    }

    pub(crate) async fn invalidate(&self, user: &str) {
        let request = InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() };
        self.client.clone().invalidate_cache(request).await.unwrap();
    }

    /// Reads of the strategies by this instance: one per load.
    pub(crate) async fn loads(&self) -> i64 {
        let stats = self.stats().await;
        stats.sources.iter().find(|source| source.source == "strategy").unwrap().runs
    }

    /// Garbage records that this instance has found in Redis.
    pub(crate) async fn garbage(&self) -> i64 {
        let stats = self.stats().await;
        stats.tiers.iter().find(|tier| tier.tier == "redis").unwrap().garbage
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }

    async fn stats(&self) -> GetCacheStatsResponse {
        // On a busy machine the database may exceed its default limit of 200 ms.
        let stats = wait_for("statistics", async || {
            self.client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.ok()
        });
        stats.await.into_inner()
    }
}

/// userdata's origin: the planning application's tables in PostgreSQL, one of them slow.
#[derive(Debug)]
pub(crate) struct Tables(Sources);

/// Enough users for a probe, numbered from 1.
const USERS: i32 = 30;

impl Tables {
    pub(crate) async fn new(takes: Duration) -> Self {
        let sources = sources(Kind::Postgres).await;
        for user in 1..=USERS {
            sources.add_user(&user.to_string(), &[user]).await;
        }
        let tables = Self(sources);
        // A statement sees the state at its begin, however long it sleeps.
        tables
            .run(&format!(
                "ALTER TABLE {OF_STRATEGY} RENAME TO activations;
                 CREATE TABLE pace (seconds double precision NOT NULL, fails boolean NOT NULL);
                 INSERT INTO pace VALUES ({seconds}, false);
                 CREATE VIEW {OF_STRATEGY} AS
                     WITH slow AS MATERIALIZED
                         (SELECT pg_sleep(seconds), 1 / (CASE WHEN fails THEN 0 ELSE 1 END) AS done FROM pace)
                     SELECT activations.* FROM activations, slow WHERE done = 1",
                seconds = takes.as_secs_f64()
            ))
            .await;
        tables
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.database.url
    }

    pub(crate) async fn write(&self, version: i64) {
        self.run(&format!("UPDATE enhanced_content_strategies SET name = '{version}'")).await;
    }

    pub(crate) async fn fail(&self) {
        self.run("UPDATE pace SET fails = true").await;
    }

    async fn run(&self, sql: &str) {
        self.0.db.execute_unprepared(sql).await.unwrap();
    }
}
