//! Hits alone, without a network: `bench/instructions` counts their instructions, and `--threads` shows whether threads
//! hinder each other.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use testkit::instance::{Instance, framed_request, query};
use tokio::time::Instant;
use userdata::cache::ReadOptions;

use crate::{machine, wire::spread};

/// Where a hit begins, and how many there are.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(value_enum, default_value = "stack")]
    what: What,
    /// Hits for `bench/instructions`.
    #[arg(default_value_t = 1000)]
    times: u32,
    /// Compares the hits per second of this many threads with those of one.
    #[arg(long)]
    threads: Option<usize>,
    /// Rounds of that comparison.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
}

/// The layer at which a hit begins.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// `UserDataCache::get`.
    Get,
    /// From the request's headers to the reply's last frame.
    Stack,
}

/// Few enough to fit into one lease, although an emulated CPU is fifty times slower.
const BETWEEN_RENEWALS: u32 = 20;
/// Shorter than a lease, which is renewed before each turn.
const TURN: Duration = Duration::from_millis(300);

pub(crate) async fn run(options: &Options) {
    let instance = Instance::start().await;
    instance.cache.get(&query(), &ReadOptions::default()).await.unwrap();
    match options.threads {
        Some(threads) => compare(&instance, options, threads).await,
        None => count(&instance, options).await,
    }
}

/// Makes that many hits. At times the lease lapses; the log is then read again between hits, uncounted.
async fn count(instance: &Instance, options: &Options) {
    let connection = instance.connection();
    let (mut hits, mut asked) = (0, 0);
    while hits < options.times {
        instance.cache.invalidation_log().catch_up().await.unwrap();
        let times = BETWEEN_RENEWALS.min(options.times - hits);
        hits += counted(instance, &connection, options.what, times);
        asked += times;
    }
    // More threads would show in the figure.
    assert!((asked - hits) * 100 <= hits, "the machine is too busy: only {hits} of {asked} were hits");
}

/// `bench/instructions` counts from the beginning to the end of this function.
#[inline(never)]
fn counted(instance: &Instance, connection: &dyn Fn(&Bytes) -> bool, what: What, times: u32) -> u32 {
    let (query, request) = (query(), framed_request());
    let hit = || match what {
        What::Get => instance.get(&query),
        What::Stack => connection(&request),
    };
    (0..times).map(|_| u32::from(hit())).sum()
}

/// Prints the hits per second of one thread and of `threads`. They take turns, so that other work falls on both.
async fn compare(instance: &Instance, options: &Options, threads: usize) {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let alone = rate(instance, options.what, 1).await;
        rounds.push((alone, rate(instance, options.what, threads).await));
    }
    let figure = |of: fn(&(f64, f64)) -> f64, digits| spread(rounds.iter().map(of).collect(), digits);
    println!("{}, {} rounds, medians (least to most)", machine::description(), options.rounds);
    println!("1 thread: {} hits/s", figure(|(alone, _)| *alone, 0));
    println!("{threads} threads: {} hits/s", figure(|(_, together)| *together, 0));
    println!("ratio: {}", figure(|(alone, together)| together / alone, 2));
}

/// Hits per second of that many threads, each with a connection of its own.
async fn rate(instance: &Instance, what: What, threads: usize) -> f64 {
    instance.cache.invalidation_log().catch_up().await.unwrap();
    let (hits, misses, is_over) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    let runtime = tokio::runtime::Handle::current();
    let hit = || {
        let _entered = runtime.enter();
        let (connection, mut found, mut asked) = (instance.connection(), 0, 0);
        while !is_over.load(Ordering::Relaxed) {
            found += counted(instance, &connection, what, BETWEEN_RENEWALS);
            asked += BETWEEN_RENEWALS;
        }
        hits.fetch_add(found, Ordering::Relaxed);
        misses.fetch_add(asked - found, Ordering::Relaxed);
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(hit);
        }
        std::thread::sleep(TURN);
        is_over.store(true, Ordering::Relaxed);
    });
    let took = began.elapsed();
    let (hits, misses) = (hits.into_inner(), misses.into_inner());
    assert!(misses * 100 <= hits, "the machine is too busy: {misses} misses beside {hits} hits");
    f64::from(hits) / took.as_secs_f64()
}
