//! What a memory hit costs, counted: the same figure on a busy machine as on an idle one.
//!
//! Hits are answered here without a network, as far as our own code goes and what it calls of tonic: from
//! a request's headers and body to the reply's last frame. An allocator counts, so this is a binary of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "the figures, for whoever wants to lower a bound")]

mod ways;

use testkit::instance::{Instance, framed_request, query};
use userdata::cache::ReadOptions;

/// Of everything between HTTP/2 and the cache, the making of the request included.
const STACK_ALLOCATIONS_MAX: u64 = 24;
/// A copy of the document, which has more than 10 KiB, would not fit.
const STACK_BYTES_MAX: u64 = 2304;

/// Counts what one hit allocates, once it is one: the lease has to hold, and what is made once is made.
async fn counted(instance: &Instance, hit: impl Fn(&Instance) -> bool) -> allocation_counter::AllocationInfo {
    for _ in 0..1000 {
        instance.cache.invalidation_log().catch_up().await.unwrap();
        if !(hit(instance) && hit(instance)) {
            continue;
        }
        let mut was_hit = false;
        let counted = allocation_counter::measure(|| was_hit = hit(instance));
        if was_hit {
            return counted;
        }
    }
    panic!("no hit");
}

#[tokio::test]
async fn a_hit_allocates_no_more_than_it_did() {
    let instance = Instance::start().await;
    let (query, request) = (query(), framed_request());
    let first = instance.cache.get(&query, &ReadOptions::default()).await.unwrap();
    assert!(first.snapshot.payload.len() > 10_000, "{} bytes", first.snapshot.payload.len());

    let cache = counted(&instance, |instance| instance.get(&query)).await;
    let connection = instance.connection();
    let stack = counted(&instance, |_| connection(&request)).await;

    eprintln!("the cache: {cache:?}\nthe whole stack: {stack:?}");
    assert_eq!(cache.count_total, 0, "{cache:?}");
    assert!(stack.count_total <= STACK_ALLOCATIONS_MAX, "{stack:?}");
    assert!(stack.bytes_total <= STACK_BYTES_MAX, "{stack:?}");
    assert_eq!(stack.count_current, 0, "{stack:?}");
}
