//! Hits alone, for `bench/instructions`, which counts their instructions.

use bytes::Bytes;
use clap::{Args, ValueEnum};
use testkit::instance::{Instance, framed_request, query};
use userdata::cache::ReadOptions;

/// Where a hit begins, and how many there are.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    what: What,
    times: u32,
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

/// Makes that many hits. At times the lease lapses; the log is then read again between hits, uncounted.
pub(crate) async fn run(options: &Options) {
    let instance = Instance::start().await;
    instance.cache.get(&query(), &ReadOptions::default()).await.unwrap();
    let connection = instance.connection();
    let (mut hits, mut asked) = (0, 0);
    while hits < options.times {
        instance.cache.invalidation_log().catch_up().await.unwrap();
        let times = BETWEEN_RENEWALS.min(options.times - hits);
        hits += counted(&instance, &connection, options.what, times);
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
