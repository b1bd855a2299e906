//! Hits beside invalidations of other users, which are not read. So the figures hold the invalidations alone, not the
//! loads after them; `cold` measures loads.
//!
//! The rate of hits is constant.

use std::time::Duration;

use super::{
    Scale,
    drive::{Call, as_f64, open},
    frames::Method,
    population::{Population, any_of, user},
};
use testkit::database::Kind;

use crate::wire::{empty, median};

const USERS: u64 = 1_000;
const DOCUMENT_BYTES: usize = 16 * 1024;

/// Calls per invalidation.
const MIXES: [Option<u64>; 3] = [None, Some(100), Some(10)];

pub(super) async fn table(scale: Scale) -> String {
    let (rate, duration) = scale.of((2000.0, Duration::from_secs(3)), (200.0, Duration::from_secs(1)));
    let population = Population::new(Kind::Postgres, DOCUMENT_BYTES).await;
    let instance = population.instance().await;
    population.fill(&[(&instance, 2 * USERS)]).await;
    let mut figures = vec![(Vec::new(), Vec::new(), Vec::new()); MIXES.len()];
    for round in 0..scale.rounds() {
        for place in 0..MIXES.len() {
            let place = (place + round) % MIXES.len();
            let call = |number| match MIXES[place] {
                Some(every) if number % every == every - 1 => Call::invalidate(user(USERS + any_of(USERS, number))),
                _ => Call::get(user(any_of(USERS, number))),
            };
            let all = MIXES[place].map_or(rate, |every| rate * as_f64(every) / as_f64(every - 1));
            let (before, cpu) = (instance.hits("memory").await, instance.cpu());
            let ran = open(&[instance.address], all, duration, call);
            let cpu = instance.cpu() - cpu;
            let gets = (0..ran.calls).filter(|number| call(*number).method == Method::Get).count();
            let hits = instance.hits("memory").await - before;
            assert_eq!(hits, i64::try_from(gets).unwrap(), "every read is a hit");
            let cpu_us = cpu.as_secs_f64() * 1e6 / as_f64(gets as u64);
            eprintln!("round {}, {:?}: p50 {:.2} ms, {cpu_us:.1} us of CPU", round + 1, MIXES[place], ran.ms(0.5));
            let (p50, p99, cpus) = &mut figures[place];
            p50.push(ran.ms(0.5));
            p99.push(ran.ms(0.99));
            cpus.push(cpu_us);
        }
    }
    let head = [
        "invalidations",
        "hits: p50, ms",
        "against none",
        "p99, ms",
        "against none",
        "CPU per hit, us",
        "against none",
    ];
    let mut table = empty(head.map(str::to_owned).into());
    let none = figures[0].clone();
    let against = |figures: &[f64], none: &[f64]| {
        format!("{:.2}", median(figures.iter().zip(none).map(|(figure, none)| figure / none).collect()))
    };
    for (mix, (p50, p99, cpus)) in MIXES.into_iter().zip(figures) {
        let ratios = [against(&p50, &none.0), against(&p99, &none.1), against(&cpus, &none.2)];
        let name = mix.map_or("none".to_owned(), |every| format!("1 of {every} calls"));
        let [ratio_p50, ratio_p99, ratio_cpu] = ratios;
        let [p50, p99] = [median(p50), median(p99)].map(|ms| format!("{ms:.2}"));
        table.add_row([name, p50, ratio_p50, p99, ratio_p99, format!("{:.1}", median(cpus)), ratio_cpu]);
    }
    format!(
        "{rate} hits/s, open loop, {} rounds of {} s, documents of {} bytes; CPU: of the server for everything, per hit\n\n\
         {table}",
        scale.rounds(),
        duration.as_secs(),
        population.document_bytes()
    )
}
