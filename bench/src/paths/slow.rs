//! Sources that take known times: views in PostgreSQL that sleep, and an AI endpoint behind a line that delays.

use std::{net::SocketAddr, time::Duration};

use sea_orm::ConnectionTrait as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::instance::Instance;
use crate::servers::{
    ai::{FakeAi, Say, valid_answer},
    database::Kind,
    sources::{Sources, sources},
};

/// How long each source takes at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) onboarding: Duration,
    pub(super) strategy: Duration,
    pub(super) recommendations: Duration,
    pub(super) ai: Duration,
}

/// A table that one of a source's statements reads in each run, and how that source's view of it sleeps.
pub(crate) fn slow_view(table: &str, takes: Duration) -> String {
    // A condition that is the same for all rows, so that it is slept once however many there are, and if there are none.
    format!(
        "ALTER TABLE {table} RENAME TO {table}_at_once;
         CREATE VIEW {table} AS SELECT * FROM {table}_at_once WHERE (SELECT pg_sleep({seconds})::text) = '';",
        seconds = takes.as_secs_f64()
    )
}

/// Some users, and what their documents are made from.
#[derive(Debug)]
pub(super) struct SlowSources {
    sources: Sources,
    ai: FakeAi,
    delayed: SocketAddr,
    _line: AbortOnDropHandle<()>,
}

impl SlowSources {
    /// Users from 1 on, each in a situation of his own: no AI answer serves two.
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
        // A view with no row beside it would not sleep.
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

    /// An instance that knows nobody yet.
    pub(super) async fn instance(&self, settings: &[(&str, &str)]) -> Instance {
        let endpoint = format!("http://{}/v1", self.delayed);
        let mut all = vec![
            ("database.url", self.sources.database.url.as_str()),
            ("ai.base_url", &endpoint),
            ("ai.model", "slow"),
            ("ai.calls_per_minute", "100000"),
            // Longer than any of them takes on purpose.
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

/// Hands on every connection so much later. The endpoint closes each after its answer, so that every call has its own.
async fn delay(listener: TcpListener, to: SocketAddr, by: Duration) {
    let lines = TaskTracker::new();
    while let Ok((mut caller, _)) = listener.accept().await {
        lines.spawn(async move {
            tokio::time::sleep(by).await;
            let mut endpoint = TcpStream::connect(to).await.unwrap();
            // Who of the two leaves first is of no matter.
            let _ended = tokio::io::copy_bidirectional(&mut caller, &mut endpoint).await;
        });
    }
}
