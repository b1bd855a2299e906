//! A memory hit among a growing number of users, at a fixed rate: one instance for each number of users, in turns.
//!
//! All users are requested in turn, so that no CPU cache helps; all access counts are written.

use std::time::Duration;

use super::{
    Scale,
    drive::{Call, as_f64, open},
    population::{Population, any_of, user},
};
use testkit::database::Kind;

use crate::wire::{empty, median};

const DOCUMENT_BYTES: usize = 3 * 1024;

pub(super) async fn table(scale: Scale) -> String {
    let sizes: &[u64] = scale.of(&[1_000, 10_000, 100_000, 1_000_000], &[100, 1_000]);
    let (rate, duration) = scale.of((4000.0, Duration::from_secs(5)), (200.0, Duration::from_secs(1)));
    let population = Population::new(Kind::Sqlite, DOCUMENT_BYTES).await;
    let mut instances = Vec::new();
    for size in sizes {
        instances.push((population.instance().await, *size));
    }
    population.fill(&instances.iter().map(|(instance, size)| (instance, *size)).collect::<Vec<_>>()).await;
    let mut figures = vec![(Vec::new(), Vec::new(), Vec::new()); instances.len()];
    for round in 0..scale.rounds() {
        for place in 0..instances.len() {
            let place = (place + round) % instances.len();
            let (instance, size) = &instances[place];
            let cpu = instance.cpu();
            let offset = 1_000_000 * round as u64;
            let ran = open(&[instance.address], rate, duration, |n| Call::get(user(any_of(*size, offset + n))));
            let cpu_us = (instance.cpu() - cpu).as_secs_f64() * 1e6 / as_f64(ran.calls);
            eprintln!("round {}, {size} users: p50 {:.2} ms, {cpu_us:.1} us of CPU", round + 1, ran.ms(0.5));
            let (p50, p99, cpus) = &mut figures[place];
            p50.push(ran.ms(0.5));
            p99.push(ran.ms(0.99));
            cpus.push(cpu_us);
        }
    }
    let head = ["users in memory", "CPU per call, us", "against the first", "p50, ms", "p99, ms", "process, MiB"];
    let mut table = empty(head.map(str::to_owned).into());
    let first = figures[0].2.clone();
    for ((instance, size), (p50, p99, cpus)) in instances.iter().zip(figures) {
        let ratios = cpus.iter().zip(&first).map(|(cpu, first)| cpu / first).collect();
        table.add_row([
            size.to_string(),
            format!("{:.1}", median(cpus)),
            format!("{:.2}", median(ratios)),
            format!("{:.2}", median(p50)),
            format!("{:.2}", median(p99)),
            (instance.anonymous_bytes() >> 20).to_string(),
        ]);
    }
    format!(
        "{rate} calls/s, open loop, {} rounds of {} s, documents of {} bytes, SQLite; CPU includes the polls and the writing \
         of access counts\n\n{table}",
        scale.rounds(),
        duration.as_secs(),
        population.document_bytes()
    )
}
