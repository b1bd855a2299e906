//! Eight probes of what becomes of callers when something goes wrong, asked of every cache in the same
//! words: a table of what happened. Whether ours may land is decided by `tests/it/probes.rs`.

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

/// How long a load takes where a probe needs one that things can happen in.
const SLOW: Duration = Duration::from_millis(300);
/// How long one takes where it is only there to be paid for.
const QUICK: Duration = Duration::from_millis(10);
/// The user that everybody asks for.
const USER: &str = "1";

/// What is done, and to whom.
struct Probe {
    letter: char,
    what: &'static str,
    /// Whether it needs a tier that instances share.
    shared: bool,
    run: fn(Library) -> LocalBoxFuture<'static, String>,
}

const PROBES: [Probe; 8] = [
    Probe::of_one('A', "who began the load leaves, 49 others wait for it", |l| Box::pin(leader_leaves::run(l))),
    Probe::of_one('B', "two reads after an invalidation that fell into a load: at once, and after that load", |l| {
        Box::pin(invalidated_while_loading::run(l))
    }),
    Probe::of_one('C', "50 callers of a source that fails; one of them goes on asking for a second", |l| {
        Box::pin(source_fails::run(l))
    }),
    Probe::of_one('D', "40 clients one after the other, each waits 200 ms for a load of 300 ms", |l| {
        Box::pin(callers_give_up::run(l))
    }),
    Probe::of_several('E', "pub/sub is cut, then one of two instances is told to invalidate", |l| {
        Box::pin(subscription_cut::run(l))
    }),
    Probe::of_several('G', "a cold key on four instances at once", |l| Box::pin(cold_key_on_four::run(l))),
    Probe::of_several('H', "Redis hangs: a miss with a load of 10 ms", |l| Box::pin(redis_hangs::run(l))),
    Probe::of_several('I', "garbage in Redis, found by another instance", |l| Box::pin(garbage_in_redis::run(l))),
];

impl Probe {
    /// Of what happens within an instance.
    const fn of_one(letter: char, what: &'static str, run: fn(Library) -> LocalBoxFuture<'static, String>) -> Self {
        Self { letter, what, shared: false, run }
    }

    /// Of what several instances share.
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
    println!("-: no tier that instances share, and no word between them (foyer's second tier is a disk, cachet's is");
    println!("its user's own code). The libraries are called in process; ours is the whole service with its");
    println!("defaults, asked over gRPC, loading from PostgreSQL.");
}

/// A number and its noun.
fn counted(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Milliseconds, and seconds where those would be many.
fn time(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}
