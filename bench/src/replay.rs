//! A trace of real reads and changes, replayed through the core of this service in the trace's own time, beside three
//! bounds for the same reads: no cache, a TTL, and knowledge of the future.
//!
//! Decision: "ours" is the real core (invalidation log, triggers, relay, the sources' statements, an AI endpoint on
//! loopback); only its clock is moved by hand. The bounds are computed. A load takes no time in the trace's clock; its
//! time counts like a longer `prefetch.quiet`.

mod arithmetic;
mod core;
mod score;
mod trace;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};
use tokio_util::task::TaskTracker;
use userdata::config;

use self::{core::Core, score::Score, trace::Event};
use crate::machine;

const HOUR: Duration = Duration::from_secs(3600);

/// The trace, and how it is replayed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// A gzipped CSV of `t_s,case,kind,..`: R is a read of the case's document, WA and WO change two sections of it
    #[arg(long)]
    trace: PathBuf,
    /// Only about so many cases, chosen by a hash of their numbers
    #[arg(long)]
    cases: Option<u32>,
    /// Which changes are of the strategy, from which the AI analysis is made; the others are of the recommendations
    #[arg(long, value_enum, default_value_t = Changes::Wo)]
    ai_from: Changes,
    /// Another `prefetch.quiet`. A load of that duration has the same effect
    #[arg(long)]
    quiet_ms: Option<u64>,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Changes {
    /// A change of the application.
    Wa,
    /// A change of its offers.
    Wo,
}

/// Replays the trace in every way and prints the table.
pub(crate) async fn run(replay: Replay) {
    let events = trace::read(&replay.trace, replay.cases, replay.ai_from);
    let count = |what: fn(&Event) -> bool| events.iter().filter(|event| what(event)).count();
    println!(
        "{} events: {} reads, {} changes of the strategy, {} of the recommendations",
        events.len(),
        count(|event| event.kind == trace::Kind::Read),
        count(|event| event.kind == trace::Kind::Strategy),
        count(|event| event.kind == trace::Kind::Recommendations),
    );
    let events = Arc::new(events);
    let quiet = replay.quiet_ms.map_or(config::PrefetchSettings::default().quiet, Duration::from_millis);
    let without = config::PrefetchSettings { enabled: false, ..config::PrefetchSettings::default() };
    let with = config::PrefetchSettings { quiet, delay_max: 10 * quiet, ..config::PrefetchSettings::default() };
    let tasks = TaskTracker::new();
    let ours = [without, with].map(|prefetch| tasks.spawn(ours(Arc::clone(&events), prefetch)));
    let [without, with] = futures::future::join_all(ours).await.try_into().expect("two runs");
    let scores = [
        ("no cache", arithmetic::no_cache(&events)),
        ("1 h TTL", arithmetic::ttl(&events, HOUR)),
        ("ours without", without.unwrap()),
        ("ours", with.unwrap()),
        ("oracle", arithmetic::oracle(&events)),
    ];
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(std::iter::once("per read").chain(scores.iter().map(|(name, _)| *name)));
    for (what, share) in score::ROWS {
        table.add_row(std::iter::once(what.to_owned()).chain(scores.iter().map(|(_, score)| share(score))));
    }
    println!("{table}\n\n{}", machine::description());
}

async fn ours(events: Arc<Vec<Event>>, prefetch: config::PrefetchSettings) -> Score {
    let began = tokio::time::Instant::now();
    let way = if prefetch.enabled { "ours" } else { "ours without" };
    let mut core = Core::start(&events, prefetch).await;
    let score = core.replay(&events).await;
    println!("{way}: {:.0} s; {}", began.elapsed().as_secs_f64(), core.end().await);
    score
}
