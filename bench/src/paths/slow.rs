//! Sources of known duration: PostgreSQL views that sleep, and an AI endpoint behind a delaying proxy.

use std::{net::SocketAddr, time::Duration};

use sea_orm::ConnectionTrait as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::instance::Instance;
use testkit::{
    ai::{FakeAi, Say, valid_answer},
    database::Kind,
    sources::{Sources, sources},
};

/// The minimal duration of each source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) onboarding: Duration,
    pub(super) strategy: Duration,
    pub(super) recommendations: Duration,
    pub(super) ai: Duration,
}

/// A table that a statement of the source reads in each run, and the sleep of the source's view of it.
pub(crate) fn slow_view(table: &str, takes: Duration) -> String {
    // A constant condition: it sleeps once for any number of rows, also for none.
    format!(
        "ALTER TABLE {table} RENAME TO {table}_at_once;
         CREATE VIEW {table} AS SELECT * FROM {table}_at_once WHERE (SELECT pg_sleep({seconds})::text) = '';",
        seconds = takes.as_secs_f64()
    )
}

/// Some users and their sources.
#[derive(Debug)]
pub(super) struct SlowSources {
    sources: Sources,
    ai: FakeAi,
    delayed: SocketAddr,
    _line: AbortOnDropHandle<()>,
}

impl SlowSources {
    /// Users from 1 on, each with different inputs: no AI response serves two.
    pub(super) async fn new(users: i32, pace: Pace) -> Self {
        let sources = sources(Kind::Postgres).await;
        for user in 1..=users {
            sources.add_user(&user.to_string(), &[user]).await;
        }
        sources
            .db
            .execute_unprepared("UPDATE enhanced_content_strategies SET industry = 'trade of ' || id")
            .await
            .unwrap();
        // Without a row, the view would not sleep.
        let recommended = "INSERT INTO content_recommendations (user_id, recommendation_type, title) \
                           SELECT id, 'topic', '0' FROM enhanced_content_strategies";
        sources.db.execute_unprepared(recommended).await.unwrap();
        for (table, takes) in [
            ("onboarding_sessions", pace.onboarding),
            ("strategy_activation_status", pace.strategy),
            ("content_recommendations", pace.recommendations),
        ] {
            sources.db.execute_unprepared(&slow_view(table, takes)).await.unwrap();
        }
        let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let delayed = listener.local_addr().unwrap();
        let line = TaskTracker::new().spawn(delay(listener, address_of(&ai), pace.ai));
        Self { sources, ai, delayed, _line: AbortOnDropHandle::new(line) }
    }

    /// An instance with empty caches.
    pub(super) async fn instance(&self, settings: &[(&str, &str)]) -> Instance {
        let endpoint = format!("http://{}/v1", self.delayed);
        let mut all = vec![
            ("database.url", self.sources.database.url.as_str()),
            ("ai.base_url", &endpoint),
            ("ai.model", "slow"),
            ("ai.calls_per_minute", "100000"),
            // Longer than any delay above.
            ("sources.soft_timeout", "8s"),
        ];
        all.extend(settings);
        Instance::start(&all).await
    }

    pub(super) fn ai_calls(&self) -> usize {
        self.ai.calls()
    }
}

fn address_of(ai: &FakeAi) -> SocketAddr {
    let url = ai.base_url();
    url.trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap()
}

/// Forwards every connection after a delay. The endpoint closes each after its answer, so every call has its own.
async fn delay(listener: TcpListener, to: SocketAddr, by: Duration) {
    let lines = TaskTracker::new();
    while let Ok((mut caller, _)) = listener.accept().await {
        lines.spawn(async move {
            tokio::time::sleep(by).await;
            let mut endpoint = TcpStream::connect(to).await.unwrap();
            // Either side may close first.
            let _ended = tokio::io::copy_bidirectional(&mut caller, &mut endpoint).await;
        });
    }
}
