//! Bad connections, frames and messages, beside a caller of good will: it notices nothing, nothing panics, and what the
//! attackers held is given back when they are gone.
//!
//! Each attack is made twice. What the second leaves behind beyond the first is a leak; the first may fill pools and
//! an allocator's reserves.

mod connections;
mod floods;
mod messages;
mod streams;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use testkit::{
    ask::of,
    database::{Kind, TestDatabase},
    demo::serve_demo,
    server::Server,
    wait_for,
};

/// What idle pools and timers may come and go with; attackers take hundreds of each.
const FILES_MORE: u64 = 16;
const TASKS_MORE: u64 = 16;
/// What an allocator may keep for reasons of its own; an attack moves several times as much.
const MEMORY_MORE: u64 = 24 * 1024 * 1024;

/// A server with a caller of good will.
struct Ground {
    server: Server,
    caller: Caller,
    _database: TestDatabase,
}

/// Asks without end, over a connection of its own.
struct Caller {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    asking: AbortOnDropHandle<()>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Vitals {
    files: u64,
    tasks: u64,
    memory: u64,
}

/// A server with these further variables.
async fn ground(environment: &[(&str, &str)]) -> Ground {
    let (database, server) = serve_demo(Kind::Sqlite, environment).await;
    let caller = Caller::begin(&server).await;
    Ground { server, caller, _database: database }
}

impl Ground {
    /// Attacks twice, and looks for harm.
    async fn withstands(self, attack: impl AsyncFn(SocketAddr)) {
        let Self { server, caller, _database } = self;
        let before = vitals(&server).await;
        attack(server.address).await;
        let first = recovered(&server, before).await;
        caller.is_answered().await;
        attack(server.address).await;
        let second = recovered(&server, before).await;
        caller.is_answered().await;
        caller.end().await;

        eprintln!("before {before:?}, then {first:?}, then {second:?}");
        assert!(second.memory <= first.memory + MEMORY_MORE, "{first:?}, then {second:?}");
        let log = server.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Caller {
    async fn begin(server: &Server) -> Self {
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut client = server.client().await;
        let (is_over, answered) = (Arc::clone(&over), Arc::clone(&answers));
        let asking = AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                client.get_comprehensive_user_data(of("1")).await.expect("who means well is answered");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let caller = Self { over, answers, asking };
        caller.is_answered().await;
        caller
    }

    /// Waits for an answer to a question that is asked from now on.
    async fn is_answered(&self) {
        let before = self.answers.load(Ordering::Relaxed);
        wait_for("an answer", async || {
            assert!(!self.asking.is_finished(), "the caller was refused");
            (self.answers.load(Ordering::Relaxed) > before + 1).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.asking.await.unwrap();
    }
}

async fn vitals(server: &Server) -> Vitals {
    let (_, metrics) = server.probe("/metrics").await;
    let figure = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse().unwrap()
    };
    Vitals {
        files: figure("process_unix_file_descriptor_count"),
        tasks: figure("tokio_runtime_tasks"),
        memory: figure("process_memory_usage_bytes"),
    }
}

/// Waits until it holds no more than before.
async fn recovered(server: &Server, before: Vitals) -> Vitals {
    wait_for("what was held to be given back", async || {
        let now = vitals(server).await;
        let is_back = now.files <= before.files + FILES_MORE && now.tasks <= before.tasks + TASKS_MORE;
        is_back.then_some(now)
    })
    .await
}
