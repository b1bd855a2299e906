//! Callers: at a fixed rate, or looping.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::transport::Endpoint;

use super::figures::{Called, Figures};
use testkit::call::{Caller, about};

/// Calls begin in small groups: a timer has a resolution of a millisecond.
const TICK: Duration = Duration::from_millis(2);

/// The requested user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    /// A user that was not requested before.
    Cold,
    /// One of the first users, in turn.
    Warm(u32),
}

/// Connections, shared by all calls.
#[derive(Debug)]
pub(super) struct Callers {
    connections: Vec<Caller>,
    calls: AtomicU32,
    /// The next user that was not requested before.
    cold: Arc<AtomicU32>,
}

impl Callers {
    pub(super) async fn connect(address: SocketAddr, connections: usize) -> Self {
        // The first users are cached.
        Self::connected(address, connections, Arc::new(AtomicU32::new(10_000))).await
    }

    /// On connections of their own. No two ask for the same cold user.
    pub(super) async fn beside(&self, address: SocketAddr, connections: usize) -> Self {
        Self::connected(address, connections, Arc::clone(&self.cold)).await
    }

    async fn connected(address: SocketAddr, number: usize, cold: Arc<AtomicU32>) -> Self {
        let mut connections = Vec::new();
        for _ in 0..number {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            connections.push(Caller::new(endpoint.tcp_nodelay(true).connect().await.unwrap()));
        }
        Self { connections, calls: AtomicU32::new(0), cold }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) async fn call(&self, whom: Whom) -> Called {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let user = match whom {
            Whom::Cold => self.cold.fetch_add(1, Ordering::Relaxed),
            Whom::Warm(users) => 1 + call % users,
        };
        let asked = Instant::now();
        let outcome =
            self.connections[call as usize % self.connections.len()].ask(about(&user.to_string())).await.map(drop);
        Called { asked, took: asked.elapsed(), outcome }
    }

    /// Calls at this rate, and their outcomes.
    pub(super) async fn at_rate(self: &Arc<Self>, rate: u32, whom: Whom, phase: Duration) -> Figures {
        let (began, mut begun, mut calls) = (Instant::now(), 0, JoinSet::new());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while began.elapsed() < phase {
            ticks.tick().await;
            let due = (f64::from(rate) * began.elapsed().as_secs_f64()) as u32;
            for _ in begun..due {
                let callers = Arc::clone(self);
                calls.spawn(async move { callers.call(whom).await });
            }
            begun = due;
        }
        Figures::of(calls.join_all().await)
    }

    /// Looping callers: each calls again after its answer.
    pub(super) async fn in_a_loop(self: &Arc<Self>, callers: usize, whom: Whom, phase: Duration) -> Figures {
        let began = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let callers = Arc::clone(self);
            running.spawn(async move {
                let mut calls = Vec::new();
                while began.elapsed() < phase {
                    calls.push(callers.call(whom).await);
                }
                calls
            });
        }
        Figures::of(running.join_all().await.into_iter().flatten().collect())
    }
}
