//! Hits and nothing else, for `bench/instructions`, which has their instructions counted.

use clap::{Args, ValueEnum};
use userdata::cache::Wish;

use self::instance::{Instance, framed_request, query};

#[path = "../../tests/hit/instance.rs"]
mod instance;

/// What is hit, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    what: What,
    times: u32,
}

/// How far down a hit begins.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// `UserDataCache::get`.
    Get,
    /// From the request's headers to the reply's last frame.
    Stack,
}

/// Far fewer than the lease lasts, though an emulated processor is fifty times slower.
const BETWEEN_RENEWALS: u32 = 20;

/// Hits so often. The lease lapses at times, and it is read again between hits, which is not counted.
pub(crate) async fn run(options: &Options) {
    let instance = Instance::start().await;
    instance.cache.get(&query(), &Wish::default()).await.unwrap();
    let (mut hits, mut asked) = (0, 0);
    while hits < options.times {
        instance.cache.fence().catch_up().await.unwrap();
        let times = BETWEEN_RENEWALS.min(options.times - hits);
        hits += counted(&instance, options.what, times);
        asked += times;
    }
    // More would show in the figure.
    assert!((asked - hits) * 100 <= hits, "the machine is too busy: of {asked} only {hits} were hits");
}

/// What `bench/instructions` looks for: instructions are counted from its beginning to its end.
#[inline(never)]
fn counted(instance: &Instance, what: What, times: u32) -> u32 {
    let (query, request) = (query(), framed_request());
    let hit = || match what {
        What::Get => instance.get(&query),
        What::Stack => instance.call(&request),
    };
    (0..times).map(|_| u32::from(hit())).sum()
}
