//! One, a hundred and ten thousand concurrent callers of a cold document: runs of its sources, and the time of the last
//! answer, beside the single caller of the same round.

use std::time::Duration;

use super::{
    Scale,
    drive::at_once,
    slow::{Pace, SlowSources},
};
use crate::wire::{empty, median};

/// A slow user: three seconds in all.
const PACE: Pace = Pace {
    onboarding: Duration::from_millis(300),
    strategy: Duration::from_millis(500),
    recommendations: Duration::from_millis(500),
    ai: Duration::from_millis(2500),
};

pub(super) async fn table(scale: Scale) -> String {
    let herds: [usize; 3] = [1, 100, scale.of(10_000, 1_000)];
    let rounds = scale.of(5, 1);
    let users = i32::try_from(herds.len() * rounds).unwrap() + 1;
    let sources = SlowSources::new(users, PACE).await;
    let raised = [("server.max_concurrent_requests", "20000")];
    let instance = sources.instance(&raised).await;
    // The first call opens all connections.
    instance.get(&users.to_string()).await;
    let mut figures = vec![(Vec::new(), Vec::new(), Vec::new()); herds.len()];
    let mut runs_most = vec![0; herds.len()];
    for round in 0..rounds {
        let mut alone = 0.0;
        for (place, callers) in herds.into_iter().enumerate() {
            let user = (1 + place + round * herds.len()).to_string();
            let (before, cpu) = (instance.runs().await, instance.cpu());
            let ran = at_once(instance.address, callers, &user);
            let cpu = instance.cpu() - cpu;
            let after = instance.runs().await;
            let runs = before.iter().zip(&after).map(|((_, before), (_, after))| after - before).max().unwrap();
            runs_most[place] = runs_most[place].max(runs);
            let (first, last) = (ran.ms(0.0), ran.ms(1.0));
            if callers == 1 {
                alone = last;
            }
            eprintln!("round {}, {callers} callers: {runs} run, answers from {first:.0} to {last:.0} ms", round + 1);
            let (lasts, ratios, cpus) = &mut figures[place];
            lasts.push(last);
            ratios.push(last / alone);
            cpus.push(cpu.as_secs_f64() * 1e3);
        }
    }
    let head = ["callers", "runs of a source, the most", "last answer, ms", "against one caller's", "server's CPU, ms"];
    let mut table = empty(head.map(str::to_owned).into());
    for ((callers, runs), (lasts, ratios, cpus)) in herds.into_iter().zip(runs_most).zip(figures) {
        let [last, cpu] = [median(lasts), median(cpus)].map(|ms| format!("{ms:.0}"));
        table.add_row([callers.to_string(), runs.to_string(), last, format!("{:.2}", median(ratios)), cpu]);
    }
    format!(
        "A document that takes 3 s to assemble, {rounds} rounds, medians; at most 250 calls on a connection, \
         server.max_concurrent_requests = 20000\n\n{table}"
    )
}
