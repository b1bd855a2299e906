//! Clients without credentials, as many as like, with default settings: they cost the server little, and a caller of
//! good will is served all the time, on its connection and on new ones.
//!
//! Asserted are memory, descriptors and the callers' success. Times only as far as they are the requirement.

mod attackers;
mod stage;

use std::time::Duration;

use self::{
    attackers::{Attackers, Flood},
    stage::Stage,
};

/// More than there are places (`server.max_connections`, 1,000).
const CONNECTIONS: usize = 1100;
/// For floods that cost processor time, of which the server, not optimised, and the attackers have two cores together.
const WORKING: usize = 100;
/// What attackers may cost, whatever they do.
const MEMORY_MIB_MAX: u64 = 64;
/// Places of connections, and what the rest of the process opens.
const FILES_MAX: u64 = 1000 + 300;
/// A new caller among them is answered, if need be at a further try.
const NEW_CALLERS: usize = 3;
const LOCKED_OUT_MAX: Duration = Duration::from_secs(10);
const USUALLY: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_credentials_cost_little_and_lock_nobody_out() {
    withstood(&Stage::open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_credentials_cost_little_and_lock_nobody_out_with_tls_and_tokens() {
    withstood(&Stage::secured().await).await;
}

async fn withstood(stage: &Stage) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let (caller, began) = (stage.caller().await, tokio::time::Instant::now());
    let before = stage.server.memory_mib();
    for flood in Flood::ALL {
        let connections = match flood {
            // Each is a caller's for an open server, which answers all of its calls: few, or its processor time is the limit.
            Flood::WatchWithoutWindow => WORKING / 10,
            flood if flood.is_work() => WORKING,
            _ => CONNECTIONS,
        };
        withstands(stage, before, &format!("{flood:?}"), vec![(flood, connections)]).await;
    }
    let part = |flood: Flood| if flood.is_work() { WORKING / 3 } else { CONNECTIONS / 2 };
    withstands(stage, before, "all together", Flood::ALL.map(|flood| (flood, part(flood))).into()).await;
    caller.end().await;

    let log = stage.server.log();
    let warned = log.matches("all connections are in use").count();
    let minutes = began.elapsed().as_secs() / 60;
    assert!((1..=2 + minutes).contains(&(warned as u64)), "once a minute: {warned} in {minutes}");
    assert!(!log.contains("panicked"), "{log}");
    let (_, metrics) = stage.server.probe("/metrics").await;
    let ended = metrics.lines().find(|line| line.starts_with("userdata_connections_ended_total{reason=\"full\"}"));
    assert!(ended.is_some_and(|line| !line.ends_with(" 0")), "{ended:?}");
}

/// While the flood lasts.
async fn withstands(stage: &Stage, memory_before: u64, what: &str, floods: Vec<(Flood, usize)>) {
    let began = tokio::time::Instant::now();
    let wanted = floods.iter().map(|(_, connections)| connections).sum();
    let attackers = Attackers::begin(&stage.target(), &floods);
    attackers.have_attacked(wanted).await;
    let (mut took, mut memory, mut files) = (Vec::new(), 0, 0);
    for _ in 0..NEW_CALLERS {
        let asked = tokio::time::Instant::now();
        let answered = tokio::time::timeout(LOCKED_OUT_MAX, stage.new_caller_is_answered()).await;
        assert!(answered.is_ok(), "{what}: a new caller is locked out");
        took.push(asked.elapsed());
        memory = memory.max(stage.server.memory_mib());
        files = files.max(stage.open_files());
    }
    drop(attackers);
    took.sort();
    let grown = memory.saturating_sub(memory_before);
    eprintln!("{what}: {grown} MiB more, {files} files, new callers {took:?}, {:?} in all", began.elapsed());
    assert!(grown <= MEMORY_MIB_MAX, "{what}: {grown} MiB more");
    assert!(files <= FILES_MAX, "{what}: {files} files");
    // Where all connections are in use and the processor is not.
    if !floods.iter().any(|(flood, _)| flood.is_work()) {
        assert!(took[0] <= USUALLY, "{what}: {took:?}");
    }
}
