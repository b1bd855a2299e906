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

/// As many as a lease outlasts, emulated: then the log is read again, which is not counted.
const AT_ONCE: u32 = 50;

/// Hits so often.
pub(crate) async fn run(options: &Options) {
    let instance = Instance::start().await;
    instance.cache.get(&query(), &Wish::default()).await.unwrap();
    instance.cache.fence().catch_up().await.unwrap();
    // What is made once is made.
    assert_eq!((counted(&instance, What::Get, 1), counted(&instance, What::Stack, 1)), (1, 1), "hits");
    for done in (0..options.times).step_by(AT_ONCE as usize) {
        let times = AT_ONCE.min(options.times - done);
        instance.cache.fence().catch_up().await.unwrap();
        assert_eq!(counted(&instance, options.what, times), times, "hits");
    }
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
