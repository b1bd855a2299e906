//! The cost of a memory hit on the wire: this service and others that answer the same bytes. Each is a process of its
//! own; h2load loads them in turns, round by round. The servers share one CPU, h2load has the others.
//!
//! Only ratios within a round are compared, to a bare tonic server that echoes the same bytes: other work on the
//! machine slows down the whole round. CPU time is that of the server's process.

mod contestants;
mod document;
mod load;
mod rivals;
mod table;

use std::path::PathBuf;

use clap::Args;

use self::{
    contestants::{CONTESTANTS, Contestant, OURS},
    document::Documents,
    load::Measured,
};
use testkit::redis::{Redis, redis};

use crate::machine;

pub(crate) use self::{
    contestants::Running,
    load::cpu_time,
    rivals::{Serve, serve},
    table::{empty, median, spread},
};

/// Some of the servers with replies of one size, for another kind of load.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) servers: Vec<Running>,
    _documents: Documents,
    _redis: Redis,
}

impl Stage {
    /// The servers of these names; the requested user is named like the size.
    pub(crate) async fn of(names: &[&str], kib: usize) -> Self {
        let (redis, documents) = (redis().await, Documents::prepare(&[kib]).await);
        let mut servers = Vec::new();
        for name in names {
            let contestant = CONTESTANTS.iter().find(|contestant| contestant.name == *name).expect("a known name");
            servers.push(Running::start(contestant.clone(), kib, &documents, &redis).await);
        }
        Self { servers, _documents: documents, _redis: redis }
    }
}

/// Durations and rounds.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each loads every server once. Medians need seven or more.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load per server and round.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Sizes of the reply in KiB.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    sizes: Vec<usize>,
    /// Only these servers, by a part of their names; the raw echo always.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compares userdata with that of another build's `userdata-bench`.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "only")]
    against: Option<PathBuf>,
}

/// Measures and prints one table.
pub(crate) async fn run(options: &Options) {
    let before = machine::description();
    let redis = redis().await;
    let documents = Documents::prepare(&options.sizes).await;
    let contestants = chosen(options);
    let mut columns = Vec::new();
    for size in &options.sizes {
        let document = documents.of(*size);
        document.store_in(&redis).await;
        let mut running = Vec::new();
        for contestant in &contestants {
            running.push(Running::start(contestant.clone(), *size, &documents, &redis).await);
        }
        let rounds = measure(&running, options, document.reply_bytes());
        columns.push(table::Column { reply_bytes: document.reply_bytes(), rounds });
    }
    let names: Vec<&str> = contestants.iter().map(|contestant| contestant.name).collect();
    println!("{before}; afterwards load average {}", machine::load_average());
    println!(
        "h2load -c 8 -m 16, {} rounds of {} s, medians; ratios to the raw echo of the same round; one CPU for the servers, \
         the others for the load\n",
        options.rounds, options.seconds
    );
    println!("{}", table::ratios(&names, &columns));
    if options.against.is_some() {
        println!("\n{}", table::this_against_other(&columns));
    }
}

/// The raw echo first.
fn chosen(options: &Options) -> Vec<Contestant> {
    if let Some(program) = &options.against {
        return vec![CONTESTANTS[0].clone(), OURS, Contestant::other_build(program.clone())];
    }
    let is_chosen = |contestant: &&Contestant| {
        contestant.is_the_base()
            || options.only.is_empty()
            || options.only.iter().any(|part| contestant.name.contains(part.as_str()))
    };
    CONTESTANTS.iter().filter(is_chosen).cloned().collect()
}

/// One row of figures per contestant and round.
fn measure(running: &[Running], options: &Options, reply_bytes: usize) -> Vec<Vec<Measured>> {
    let mut rounds = vec![Vec::new(); running.len()];
    // Not counted: connections, pages and branch predictors are cold.
    for server in running {
        server.load(1, reply_bytes);
    }
    for round in 0..options.rounds {
        // Each server comes first once, so that the traces of its predecessor fall on all alike.
        for place in 0..running.len() {
            let place = (place + round) % running.len();
            let measured = running[place].load(options.seconds, reply_bytes);
            eprintln!("{} B, round {}, {}: {measured}", reply_bytes, round + 1, running[place].name());
            rounds[place].push(measured);
        }
    }
    rounds
}
