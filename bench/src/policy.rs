//! Hit rates of the memory tier with either engine when not all documents fit: real traces, beside plain LRU and the
//! optimum (Belady). Also the cost of a read and a write.
//!
//! Decision: the replay uses the tier itself, writer and weights included, not its bare engines. Every document weighs
//! the same, because the traces have no sizes.

mod arithmetic;
mod speed;
mod trace;

use std::path::PathBuf;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};
use userdata::{
    cache::tiers::memory::{MemoryEntry, MemoryTier, MemoryValue},
    clock::Clock,
    config::{self, MemoryEngine},
    model::{CacheKey, Parameters, Snapshot, UserDataQuery, UserId},
};

use self::trace::{Step, Trace};
use crate::machine;

/// The traces.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// `.xz`: 32-bit numbers, big-endian, each a read of that key. `.csv.gz`: a trace as for `replay`. May be repeated;
    /// without any, only the cost of reads and writes is measured
    #[arg(long)]
    trace: Vec<PathBuf>,
    /// Rounds of the cost measurement; 0: none
    #[arg(long, default_value_t = 11)]
    rounds: usize,
}

/// The share of the documents that fits, in percent.
const SHARES: [usize; 4] = [1, 5, 10, 25];
const ENGINES: [(&str, MemoryEngine); 2] =
    [("mini-moka", MemoryEngine::MiniMoka), ("quick_cache", MemoryEngine::QuickCache)];

/// Replays the traces, measures, and prints the tables.
pub(crate) fn run(options: &Options) {
    let mut ratios = table(["trace", "documents that fit", "LRU", "mini-moka", "quick_cache", "clairvoyant"]);
    for file in &options.trace {
        let trace = Trace::read(file);
        println!("{}: {} reads of {} documents, {} changes", trace.name, trace.reads(), trace.keys, trace.changes());
        let documents = documents(trace.keys);
        for percent in SHARES {
            let fit = (trace.keys * percent / 100).max(1);
            let [moka, quick] = ENGINES.map(|(_, engine)| hits(&trace, &documents, &tier(engine, fit)));
            let hits = [arithmetic::lru(&trace, fit), moka, quick, arithmetic::clairvoyant(&trace, fit)];
            let shares = hits.map(|hits| format!("{:.1} %", 100.0 * ratio(hits, trace.reads())));
            ratios.add_row([trace.name.clone(), format!("{fit} ({percent} %)")].into_iter().chain(shares));
        }
    }
    if !options.trace.is_empty() {
        println!("\n{ratios}\n");
    }
    if options.rounds > 0 {
        println!("{}\n", speed::measure(options.rounds));
    }
    let (moka, quick) = (machine::version_of("mini-moka"), machine::version_of("quick_cache"));
    println!("mini-moka {moka}, quick_cache {quick}; {}", machine::description());
}

/// Snapshots of that many users.
fn documents(count: usize) -> Vec<(CacheKey, MemoryEntry)> {
    let clock = Clock::system();
    let (utc, now) = (clock.utc(), clock.now());
    let document = |user: usize| {
        let user = UserId::parse(&user.to_string()).unwrap();
        let key = UserDataQuery::new(user, None, Parameters::none()).key().clone();
        let snapshot = Snapshot::seal(key.clone(), "bench".into(), utc, utc, vec![]);
        (key, MemoryEntry { value: MemoryValue::Snapshot(snapshot), until: now, refresh_ahead_from: now, unread: None })
    };
    (0..count).map(document).collect()
}

/// The default tier, except for its size: the default bytes per document.
fn tier(engine: MemoryEngine, documents: usize) -> MemoryTier {
    let default = config::MemorySettings::default();
    let max_entries = u64::try_from(documents).unwrap();
    let max_bytes = max_entries * default.max_bytes.div_ceil(default.max_entries);
    MemoryTier::new(&config::MemorySettings { engine, max_entries, max_bytes, ..default })
}

/// A changed document is still held but useless: like the service's, a read drops nothing.
fn hits(trace: &Trace, documents: &[(CacheKey, MemoryEntry)], tier: &MemoryTier) -> usize {
    let mut outdated = vec![false; trace.keys];
    let mut hits = 0;
    for step in &trace.steps {
        match *step {
            Step::Change(document) => outdated[document] = true,
            Step::Read(document) => {
                let (key, held) = &documents[document];
                if tier.get(key).is_some() && !outdated[document] {
                    hits += 1;
                } else {
                    tier.put(key.clone(), held.clone());
                    outdated[document] = false;
                }
            }
        }
    }
    hits
}

fn table<const COLUMNS: usize>(head: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
