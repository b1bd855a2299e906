//! The cost of a read of a stored document and of a write over it, in nanoseconds of a thread's own CPU time. Other
//! work on the machine does not count; contention for caches and locks does.

use std::thread;

use comfy_table::Table;
use rustix::time::{ClockId, clock_gettime};
use userdata::cache::tiers::memory::{MemoryEntry, MemoryTier};
use userdata::model::CacheKey;

use super::{ENGINES, documents, table, tier};

/// Half of what fits, so that none is evicted: shards fill unevenly.
const DOCUMENTS: usize = 5_000;
/// Some tens of milliseconds.
const READS: usize = 400_000;
const WRITES: usize = 20_000;
const THREADS: [usize; 2] = [1, 2];

/// Medians over the rounds, in which the variants alternate.
pub(super) fn measure(rounds: usize) -> Table {
    let documents = documents(DOCUMENTS);
    let tiers = ENGINES.map(|(name, engine)| (name, tier(engine, 2 * DOCUMENTS)));
    for (_, tier) in &tiers {
        documents.iter().for_each(|(key, held)| assert!(tier.put(key.clone(), held.clone()), "it is let in"));
    }
    let works: [(&str, Work, usize); 2] = [("read", read, READS), ("write", write, WRITES)];
    let cases: Vec<_> =
        works.into_iter().flat_map(|work| THREADS.into_iter().map(move |threads| (work, threads))).collect();
    let mut figures = vec![vec![Vec::new(); tiers.len()]; cases.len()];
    for _ in 0..rounds {
        for (case, &((_, work, times), threads)) in cases.iter().enumerate() {
            for (place, (_, tier)) in tiers.iter().enumerate() {
                figures[case][place].push(cpu_ns(tier, &documents, work, times, threads));
            }
        }
    }
    let mut table = table(["ns of CPU time", ENGINES[0].0, ENGINES[1].0]);
    for (((name, ..), threads), figures) in cases.into_iter().zip(figures) {
        let cells = figures.into_iter().map(|figures| format!("{:.0}", crate::wire::median(figures)));
        table.add_row(std::iter::once(format!("{name}, {threads} at once")).chain(cells));
    }
    table
}

type Work = fn(&MemoryTier, &(CacheKey, MemoryEntry));

fn read(tier: &MemoryTier, (key, _): &(CacheKey, MemoryEntry)) {
    assert!(std::hint::black_box(tier.get(key)).is_some(), "it is held");
}

fn write(tier: &MemoryTier, (key, held): &(CacheKey, MemoryEntry)) {
    assert!(tier.put(key.clone(), held.clone()), "none is newer");
}

/// Nanoseconds per operation, by concurrent threads.
#[expect(clippy::cast_precision_loss, reason = "less than a minute")]
fn cpu_ns(tier: &MemoryTier, documents: &[(CacheKey, MemoryEntry)], work: Work, times: usize, threads: usize) -> f64 {
    let one = |first: usize| {
        let began = thread_ns();
        // A prime step: it visits all documents, and no neighbour follows another.
        (0..times).for_each(|time| work(tier, &documents[(first + time * 7919) % documents.len()]));
        thread_ns() - began
    };
    let total: i64 = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread * 1000))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    total as f64 / (times * threads) as f64
}

fn thread_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
