//! H: Redis keeps its connections open and answers nothing; the requested users are not in memory.

use std::time::Duration;

use tokio::time::Instant;

use super::{QUICK, time};
use crate::{field::Library, stand::Stand};

/// Users requested before Redis hangs, as the baseline; the first one opens connections.
const BEFORE: usize = 5;
/// Users requested while Redis hangs: by the second half, a circuit breaker has opened.
const WHILE: usize = 12;

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, QUICK).await;
    let mut cold = 1..;
    let mut ask = async || {
        let user = cold.next().expect("an endless iterator");
        let asked = Instant::now();
        stand.node().get(&user.to_string()).await.unwrap();
        asked.elapsed()
    };
    let mut took = Vec::new();
    for _ in 0..BEFORE {
        took.push(ask().await);
    }
    stand.redis().freeze();
    for _ in 0..WHILE {
        took.push(ask().await);
    }
    let before = median(&took[1..BEFORE]);
    let (most, last) = (took[BEFORE..].iter().max().expect("some"), median(&took[BEFORE + WHILE / 2..]));
    stand.redis().thaw();
    stand.take_down().await;
    format!("max {}, then {} ({} when Redis answers)", time(*most), time(last), time(before))
}

fn median(took: &[Duration]) -> Duration {
    let mut took = took.to_vec();
    took.sort();
    took[took.len() / 2]
}
