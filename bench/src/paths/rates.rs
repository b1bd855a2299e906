//! Latencies at half and at nine tenths of each server's peak, counted from the time at which a request was due; and
//! the cost at the same rate for all. The servers are those of `wire`, with replies of 16 KiB; they share one CPU, the
//! load has the others.

use std::time::Duration;

use super::{
    Scale,
    drive::{CONNECTIONS, Call, STREAMS, Until, as_f64, closed, open},
};
use crate::{
    machine::Cpus,
    wire::{Running, Stage, empty, median},
};

const SERVERS: [&str; 4] =
    ["raw echo", "raw echo, coalesced writes", "bare hyper, coalesced writes", "userdata, 1 % of calls traced"];
const KIB: usize = 16;
/// Shares of each server's own peak, then of the raw echo's: the same rate for all.
const SHARES: [Share; 3] = [Share::OfOwn(0.5), Share::OfOwn(0.9), Share::OfTheFirsts(0.5)];

#[derive(Clone, Copy, Debug)]
enum Share {
    OfOwn(f64),
    OfTheFirsts(f64),
}

/// One server at one rate, round by round.
#[derive(Clone, Debug, Default)]
struct Figures {
    per_second: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
    cpu_us: Vec<f64>,
    late: Vec<f64>,
}

pub(super) async fn table(scale: Scale) -> String {
    let took = scale.of(Duration::from_secs(2), Duration::from_millis(500));
    let stage = Stage::of(&SERVERS, KIB).await;
    let servers = &stage.servers;
    Cpus::OfLoad.hold(std::process::id());
    let call = |_| Call::get(KIB.to_string());
    let peak =
        |server: &Running| closed(server.address(), (CONNECTIONS, STREAMS), Until::After(took), call).per_second();
    // Several peaks: a single one would be that of a moment.
    let mut peaks = vec![Vec::new(); servers.len()];
    for round in 0..scale.of(3, 1) {
        for place in 0..servers.len() {
            let place = (place + round) % servers.len();
            peaks[place].push(peak(&servers[place]));
        }
    }
    let peaks: Vec<f64> = peaks.into_iter().map(median).collect();
    eprintln!("peaks: {peaks:.0?}");
    let mut figures = vec![vec![Figures::default(); servers.len()]; SHARES.len()];
    for round in 0..scale.rounds() {
        for (share, figures) in SHARES.into_iter().zip(&mut figures) {
            for place in 0..servers.len() {
                let place = (place + round) % servers.len();
                let server = &servers[place];
                let rate = match share {
                    Share::OfOwn(share) => share * peaks[place],
                    Share::OfTheFirsts(share) => share * peaks[0],
                };
                let cpu = server.cpu();
                let ran = open(&[server.address()], rate, took, call);
                let cpu = server.cpu() - cpu;
                let figures = &mut figures[place];
                figures.per_second.push(ran.per_second());
                figures.p50.push(ran.ms(0.5));
                figures.p99.push(ran.ms(0.99));
                figures.p999.push(ran.ms(0.999));
                figures.cpu_us.push(cpu.as_secs_f64() * 1e6 / as_f64(ran.calls));
                figures.late.push(ran.late_ms(0.99));
                eprintln!("round {}, {share:?}, {}: p99 {:.2} ms", round + 1, server.name(), ran.ms(0.99));
            }
        }
    }
    Cpus::All.hold(std::process::id());
    let head = ["server", "rate", "answers/s", "p50, ms", "p99, ms", "p99.9, ms", "CPU, us", "sent late, p99, ms"];
    let mut table = empty(head.map(str::to_owned).into());
    for (share, figures) in SHARES.into_iter().zip(figures) {
        let share = match share {
            Share::OfOwn(share) => format!("{:.0} % of its peak", 100.0 * share),
            Share::OfTheFirsts(share) => format!("{:.0} % of the raw echo's", 100.0 * share),
        };
        for (server, figures) in servers.iter().zip(figures) {
            let ms = |figures| format!("{:.2}", median(figures));
            table.add_row([
                server.name().to_owned(),
                share.clone(),
                format!("{:.0}", median(figures.per_second)),
                ms(figures.p50),
                ms(figures.p99),
                ms(figures.p999),
                format!("{:.1}", median(figures.cpu_us)),
                ms(figures.late),
            ]);
        }
    }
    let peaks = servers.iter().zip(peaks).map(|(server, peak)| format!("{} {peak:.0}", server.name()));
    format!(
        "Open loop, {} rounds of {:.1} s, {CONNECTIONS} connections, replies of 16 KiB; peaks (closed loop, {STREAMS} calls \
         under way on each): {}\n\n{table}",
        scale.rounds(),
        took.as_secs_f64(),
        peaks.collect::<Vec<_>>().join(", ")
    )
}
