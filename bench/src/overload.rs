//! The service beyond its capacity: goodput, refusals, memory, and the time until it recovers.
//!
//! One instance in a process of its own, PostgreSQL, Redis, and slow sources. The load has a fixed rate, answered or
//! not: looping callers would slow down with the server and overload nothing. "Peak" was measured a moment before, on
//! the same servers. Servers and databases share one CPU, the load has the others, so that the load takes no CPU time
//! from them.

mod figures;
mod load;
mod stand;

use std::{sync::Arc, time::Duration};

use clap::Args;
use tokio::time::{Instant, sleep};

use self::{
    figures::Figures,
    load::{Callers, Whom},
    stand::Stand,
};
use crate::{
    machine::{self, Cpus},
    paths::{Call, Until, closed},
};

/// Duration and strength of the overload.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each phase.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long each load waits for its sources, in milliseconds; 0: only for PostgreSQL itself.
    #[arg(long, default_value_t = 100)]
    source_ms: u64,
    /// The factor above the peak.
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// Hits per second beside the misses.
    #[arg(long, default_value_t = 300)]
    hits: u32,
    /// Connections of the crowd, whose callers loop. The peak is measured with as many divided by `times`.
    #[arg(long, default_value_t = 400)]
    connections: usize,
    /// Concurrent requests on each of them.
    #[arg(long, default_value_t = 8)]
    requests: usize,
    /// Only the crowd.
    #[arg(long)]
    crowd_only: bool,
}

/// Looping callers that find the peak: as many as load at once, and as many again that wait.
const AT_THE_PEAK: usize = 32;
/// Users with permanent hits.
const WARM: u32 = 500;
/// Concurrent requests for the peak of hits, and ten times as many.
const HITS_UNDER_WAY: usize = 64;
/// With 256 streams on each, more than any phase of them needs at once.
const CONNECTIONS: usize = 32;

pub(crate) async fn run(options: &Options) {
    println!("{}", machine::description());
    let phase = Duration::from_secs(options.seconds);
    // Child processes inherit the CPUs of their parent.
    Cpus::OfServers.hold(std::process::id());
    let stand = Stand::set_up(Duration::from_millis(options.source_ms)).await;
    Cpus::OfLoad.hold(std::process::id());
    let callers = Arc::new(Callers::connect(stand.address(), CONNECTIONS).await);
    stand.warm(&callers, WARM).await;
    if !options.crowd_only {
        beyond_the_peak(options, &stand, &callers, phase).await;
    }
    crowd(options, &stand, &callers, phase).await;
    println!("{}", machine::description());
}

/// Ten times the rate of the peak, on a few connections.
async fn beyond_the_peak(options: &Options, stand: &Stand, callers: &Arc<Callers>, phase: Duration) {
    let quiet = callers.at_rate(options.hits, Whom::Warm(WARM), phase).await;
    println!("hits alone, {}/s: {}", options.hits, quiet.line());
    let peak = callers.in_a_loop(AT_THE_PEAK, Whom::Cold, phase).await;
    println!("misses, {AT_THE_PEAK} looping callers: {}", peak.line());

    let before = stand.memory_mib();
    let rate = per_second(&peak, phase).saturating_mul(options.times);
    let (misses, hits) =
        tokio::join!(callers.at_rate(rate, Whom::Cold, phase), callers.at_rate(options.hits, Whom::Warm(WARM), phase),);
    println!("misses at {rate}/s: {}", misses.line());
    println!(
        "  goodput {:.0} % of the peak",
        100.0 * f64::from(per_second(&misses, phase)) / f64::from(rate / options.times)
    );
    println!("hits at the same time: {}", hits.line());
    println!("memory {before} MiB before, peak {} MiB", stand.memory_peak_mib());

    flush(options, stand, callers, rate, phase).await;

    let whom = Whom::Warm(WARM);
    let peak = callers.in_a_loop(HITS_UNDER_WAY, whom, phase).await;
    let more = callers.in_a_loop(HITS_UNDER_WAY * options.times as usize, whom, phase).await;
    println!("hits, {HITS_UNDER_WAY} concurrent: {}", peak.line());
    println!("hits, {} times as many: {}", options.times, more.line());
    println!("  goodput {:.0} %", share(&more, &peak, phase));
}

/// Many connections with some requests each, and before that a part of them, as many divided by the factor.
///
/// Hits come from a generator that is cheaper than the server: tonic's client costs a third more per call with 400
/// connections than with 40, and more than the server does, which would wait for it.
async fn crowd(options: &Options, stand: &Stand, callers: &Callers, phase: Duration) {
    let Options { connections, requests, times, .. } = *options;
    let few = connections.div_ceil(times as usize);
    let hits = |connections| {
        let user = |call: u64| Call::get((1 + call % u64::from(WARM)).to_string());
        let ran = closed(stand.address(), (connections, requests), Until::After(phase), user);
        let (p50, p99) = (ran.ms(0.5), ran.ms(0.99));
        let rate = ran.per_second();
        println!(
            "hits, {connections} connections with {requests} requests each: {rate:.0}/s (p50 {p50:.1}, p99 {p99:.1} ms)"
        );
        rate
    };
    let peak = hits(few);
    println!("  goodput {:.0} %", 100.0 * hits(connections) / peak);

    let few = Arc::new(callers.beside(stand.address(), few).await);
    let many = Arc::new(callers.beside(stand.address(), connections).await);
    let peak = few.in_a_loop(few.connections() * requests, Whom::Cold, phase).await;
    println!("misses, {} connections with {requests} requests each: {}", few.connections(), peak.line());
    let more = many.in_a_loop(connections * requests, Whom::Cold, phase).await;
    println!("misses, {connections} connections with {requests} requests each: {}", more.line());
    println!("  goodput {:.0} %", share(&more, &peak, phase));
    println!("memory: peak {} MiB", stand.memory_peak_mib());
}

/// In percent.
fn share(more: &Figures, peak: &Figures, phase: Duration) -> f64 {
    100.0 * f64::from(per_second(more, phase)) / f64::from(per_second(peak, phase))
}

/// Everything cached is lost in the middle of the overload; then the load falls to the hits alone.
async fn flush(options: &Options, stand: &Stand, callers: &Arc<Callers>, rate: u32, phase: Duration) {
    let losing = async {
        sleep(phase / 2).await;
        stand.lose_everything().await;
    };
    let (misses, hits, ()) = tokio::join!(
        callers.at_rate(rate, Whom::Cold, phase),
        callers.at_rate(options.hits, Whom::Warm(WARM), phase),
        losing,
    );
    println!("flush under load: misses {}", misses.line());
    println!("  hits {}", hits.line());
    let fell = Instant::now();
    let after = callers.at_rate(options.hits, Whom::Warm(WARM), 2 * phase).await;
    println!("after the load fell: {}", after.line());
    println!("  95 % of each 100 ms answered after {:.1} s", after.recovered_after(fell).as_secs_f64());
    println!("memory: peak {} MiB", stand.memory_peak_mib());
}

fn per_second(figures: &Figures, phase: Duration) -> u32 {
    u32::try_from(figures.answered() as u64 / phase.as_secs()).unwrap_or(u32::MAX)
}
