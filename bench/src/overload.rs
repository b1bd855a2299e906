//! What this service does when it is asked for more than it can do: goodput, refusals, memory, and how soon it recovers.
//!
//! One instance in a process of its own, PostgreSQL, Redis, and sources that take their time. Load comes at a rate,
//! whether or not it is answered: callers in a loop would slow down with the server and overload nothing. "Peak" is what
//! was measured a moment before, on the same stand. Servers and databases share one CPU, the load has the others: what ten
//! times the load costs its callers is not to be taken from those who answer.

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
use crate::machine::{self, Cpus};

/// How long and how hard.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of each phase.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// What each load waits for its sources, in milliseconds; 0: what PostgreSQL takes.
    #[arg(long, default_value_t = 100)]
    source_ms: u64,
    /// How many times the peak is asked for.
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// Hits per second beside the misses.
    #[arg(long, default_value_t = 300)]
    hits: u32,
}

/// Callers that know the capacity, in a loop: as many as are read at once, and as many again that wait.
const AT_THE_PEAK: usize = 32;
/// Users who are read all the time.
const WARM: u32 = 500;
/// Of the machine's capacity for hits: requests under way at once, and ten times as many.
const HITS_UNDER_WAY: usize = 64;

pub(crate) async fn run(options: &Options) {
    println!("{}", machine::description());
    let phase = Duration::from_secs(options.seconds);
    // What is started runs where its starter does.
    Cpus::OfServers.hold(std::process::id());
    let stand = Stand::set_up(Duration::from_millis(options.source_ms)).await;
    Cpus::OfLoad.hold(std::process::id());
    let callers = Arc::new(Callers::connect(stand.address()).await);
    stand.warm(&callers, WARM).await;

    let quiet = callers.at_rate(options.hits, Whom::Warm(WARM), phase).await;
    println!("hits alone, {}/s: {}", options.hits, quiet.line());
    let peak = callers.in_a_loop(AT_THE_PEAK, Whom::Cold, phase).await;
    println!("misses, {AT_THE_PEAK} callers in a loop: {}", peak.line());

    let before = stand.memory_mib();
    let rate = per_second(&peak, phase).saturating_mul(options.times);
    let (misses, hits) =
        tokio::join!(callers.at_rate(rate, Whom::Cold, phase), callers.at_rate(options.hits, Whom::Warm(WARM), phase),);
    println!("misses, {rate}/s asked for: {}", misses.line());
    println!(
        "  goodput {:.0} % of the peak",
        100.0 * f64::from(per_second(&misses, phase)) / f64::from(rate / options.times)
    );
    println!("hits beside them: {}", hits.line());
    println!("memory {before} MiB before, {} MiB at most", stand.memory_peak_mib());

    flush(options, &stand, &callers, rate, phase).await;

    for (name, whom) in [("hits", Whom::Warm(WARM))] {
        let peak = callers.in_a_loop(HITS_UNDER_WAY, whom, phase).await;
        let more = callers.in_a_loop(HITS_UNDER_WAY * options.times as usize, whom, phase).await;
        println!("{name}, {HITS_UNDER_WAY} under way: {}", peak.line());
        println!("{name}, {} times as many: {}", options.times, more.line());
        println!(
            "  goodput {:.0} %",
            100.0 * f64::from(per_second(&more, phase)) / f64::from(per_second(&peak, phase))
        );
    }
    println!("{}", machine::description());
}

/// Everything cached is lost in the middle of the overload; then the load falls to what it was.
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
    println!("  95 % of each 100 ms answered from {:.1} s on", after.recovered_after(fell).as_secs_f64());
    println!("memory {} MiB at most", stand.memory_peak_mib());
}

fn per_second(figures: &Figures, phase: Duration) -> u32 {
    u32::try_from(figures.answered() as u64 / phase.as_secs()).unwrap_or(u32::MAX)
}
