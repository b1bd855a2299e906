//! Eight probes of what callers get when something goes wrong, the same for every cache, and a table of the results.
//! `tests/it/probes.rs` asserts userdata's results.

mod callers_give_up;
mod cold_key_on_four;
mod garbage_in_redis;
mod invalidated_while_loading;
mod leader_leaves;
mod redis_hangs;
mod source_fails;
mod subscription_cut;

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};
use futures::future::LocalBoxFuture;

use crate::{
    field::{LIBRARIES, Library},
    machine,
};

/// A slow load, during which something happens.
const SLOW: Duration = Duration::from_millis(300);
/// A fast load, of which only the cost matters.
const QUICK: Duration = Duration::from_millis(10);
/// The user of all calls.
const USER: &str = "1";

/// The steps, and the caches that they apply to.
struct Probe {
    letter: char,
    what: &'static str,
    /// Whether it needs a shared tier.
    shared: bool,
    run: fn(Library) -> LocalBoxFuture<'static, String>,
}

const PROBES: [Probe; 8] = [
    Probe::of_one('A', "the caller that began the load leaves, 49 others wait for it", |l| {
        Box::pin(leader_leaves::run(l))
    }),
    Probe::of_one('B', "two reads after an invalidation during a load: at once, and after that load", |l| {
        Box::pin(invalidated_while_loading::run(l))
    }),
    Probe::of_one('C', "50 callers of a failing source; one of them repeats its call for a second", |l| {
        Box::pin(source_fails::run(l))
    }),
    Probe::of_one('D', "40 clients one after the other; each waits 200 ms for a load of 300 ms", |l| {
        Box::pin(callers_give_up::run(l))
    }),
    Probe::of_several('E', "pub/sub is cut, then one of two instances gets an invalidation", |l| {
        Box::pin(subscription_cut::run(l))
    }),
    Probe::of_several('G', "a cold key on four instances at once", |l| Box::pin(cold_key_on_four::run(l))),
    Probe::of_several('H', "Redis hangs: a miss with a load of 10 ms", |l| Box::pin(redis_hangs::run(l))),
    Probe::of_several('I', "garbage in Redis, found by another instance", |l| Box::pin(garbage_in_redis::run(l))),
];

impl Probe {
    /// A probe within one instance.
    const fn of_one(letter: char, what: &'static str, run: fn(Library) -> LocalBoxFuture<'static, String>) -> Self {
        Self { letter, what, shared: false, run }
    }

    /// A probe of several instances.
    const fn of_several(letter: char, what: &'static str, run: fn(Library) -> LocalBoxFuture<'static, String>) -> Self {
        Self { letter, what, shared: true, run }
    }
}

/// Runs the probes, one after the other, and prints the table.
pub(crate) async fn run(only: &[char]) {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(std::iter::once("probe".to_owned()).chain(LIBRARIES.map(Library::name)));
    let before = machine::description();
    for probe in PROBES
        .iter()
        .filter(|probe| only.is_empty() || only.iter().any(|letter| letter.eq_ignore_ascii_case(&probe.letter)))
    {
        let mut row = vec![format!("{}: {}", probe.letter, probe.what)];
        for library in LIBRARIES {
            if probe.shared && library.channel().is_none() {
                row.push("-".to_owned());
                continue;
            }
            let measured = (probe.run)(library).await;
            eprintln!("{} {}: {measured}", probe.letter, library.name());
            row.push(measured);
        }
        table.add_row(row);
    }
    println!("{before}\n\n{table}\n");
    println!(
        "-: no tier that instances share, and no messages between them (foyer's second tier is a disk, cachet's is"
    );
    println!("its user's own code). The libraries are called in process; userdata is the whole service with its");
    println!("defaults, called over gRPC, loading from PostgreSQL.");
}

/// A number and its noun.
fn counted(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Milliseconds, or seconds from one second on.
fn time(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}
