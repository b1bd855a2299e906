//! One to four instances on one PostgreSQL and one Redis, each with the same rate of requests: the cost of a call with
//! more instances.
//!
//! Decision: the rate is per instance, not in total. A call costs more CPU time at a lower rate, which would be
//! mistaken for an effect of more instances.

use std::time::Duration;

use super::{
    Scale,
    drive::{Call, as_f64, open},
    population::{Population, any_of, user},
};
use testkit::database::Kind;

use crate::wire::{empty, median};

const USERS: u64 = 1_000;
const DOCUMENT_BYTES: usize = 16 * 1024;

pub(super) async fn table(scale: Scale) -> String {
    let (rate, duration) = scale.of((1000.0, Duration::from_secs(2)), (100.0, Duration::from_secs(1)));
    let population = Population::new(Kind::Postgres, DOCUMENT_BYTES).await;
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(population.instance().await);
    }
    population.fill(&instances.iter().map(|instance| (instance, USERS)).collect::<Vec<_>>()).await;
    let numbers = [1, 2, 4];
    let mut figures = vec![(Vec::new(), Vec::new()); numbers.len()];
    let mut idle = Vec::new();
    for round in 0..scale.rounds() {
        for place in 0..numbers.len() {
            let place = (place + round) % numbers.len();
            let asked = &instances[..numbers[place]];
            let addresses: Vec<_> = asked.iter().map(|instance| instance.address).collect();
            let cpu = || asked.iter().map(super::instance::Instance::cpu).sum::<Duration>();
            let before = cpu();
            let all = rate * as_f64(asked.len() as u64);
            let ran = open(&addresses, all, duration, |n| Call::get(user(any_of(USERS, n))));
            let cpu_us = (cpu() - before).as_secs_f64() * 1e6 / as_f64(ran.calls);
            eprintln!("round {}, {} instances: {cpu_us:.1} us of CPU", round + 1, asked.len());
            figures[place].0.push(cpu_us);
            figures[place].1.push(ran.ms(0.5));
        }
        // The idle cost of each instance.
        let before = instances[3].cpu();
        tokio::time::sleep(duration).await;
        idle.push((instances[3].cpu() - before).as_secs_f64() * 1e3 / duration.as_secs_f64());
    }
    let head = ["instances", "CPU per call, all together, us", "against one", "p50, ms"];
    let mut table = empty(head.map(str::to_owned).into());
    let one = figures[0].0.clone();
    for (number, (cpus, p50)) in numbers.into_iter().zip(figures) {
        let ratios = cpus.iter().zip(&one).map(|(cpu, one)| cpu / one).collect();
        let [cpu, ratio, p50] = [median(cpus), median(ratios), median(p50)].map(|figure| format!("{figure:.2}"));
        table.add_row([number.to_string(), cpu, ratio, p50]);
    }
    format!(
        "{rate} calls/s to each, open loop, {} rounds of {} s, documents of {} bytes; an idle instance uses {:.1} \
         ms of CPU a second\n\n{table}",
        scale.rounds(),
        duration.as_secs(),
        population.document_bytes(),
        median(idle)
    )
}
