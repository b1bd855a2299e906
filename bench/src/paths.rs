//! The cost of everything beyond a memory hit, and of a hit at larger scale: tables of this service alone, or beside
//! the plain call that it makes.
//!
//! The instances are processes of the release binary; their servers are started here and end here. Variants alternate,
//! round by round; medians over the rounds are printed.

mod cold;
mod drive;
mod footprint;
mod frames;
mod growth;
mod herd;
mod instance;
mod instances;
mod invalidations;
mod population;
mod rates;
mod slow;
mod tiers;

use clap::{Args, ValueEnum};
use userdata::clock::Clock;

pub(crate) use self::{
    drive::{Call, Until, closed},
    slow::slow_view,
};
use crate::machine;

/// Tables and durations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// A smoke test: its figures mean nothing.
    quick: bool,
}

/// The selected tables.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these tables.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Name>,
    /// A smoke test of less than a minute; its figures mean nothing.
    #[arg(long)]
    quick: bool,
}

/// A table, in the order in which they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// A hit in Redis and in the database beside the plain call.
    Tiers,
    /// A document from its sources beside the sources' own time.
    Cold,
    /// Many callers of a cold document.
    Herd,
    /// Latencies at half and nine tenths of the peak.
    Rates,
    /// Bytes of memory per byte of the documents held.
    Footprint,
    /// A hit among a growing number of users.
    Growth,
    /// A hit on one to four instances.
    Instances,
    /// A hit beside invalidations.
    Invalidations,
}

impl Scale {
    /// The first, or with `--quick` the second.
    fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Rounds: medians need seven.
    fn rounds(self) -> usize {
        self.of(7, 1)
    }
}

/// Measures and prints table after table.
pub(crate) async fn run(options: &Options) {
    let scale = Scale { quick: options.quick };
    let clock = Clock::system();
    println!("{}{}", machine::description(), scale.of("", ", --quick: meaningless figures"));
    for name in Name::value_variants() {
        if !options.only.is_empty() && !options.only.contains(name) {
            continue;
        }
        let began = clock.now();
        let table = match name {
            Name::Tiers => Box::pin(tiers::table(scale)).await,
            Name::Cold => Box::pin(cold::table(scale)).await,
            Name::Herd => Box::pin(herd::table(scale)).await,
            Name::Rates => Box::pin(rates::table(scale)).await,
            Name::Footprint => Box::pin(footprint::table(scale)).await,
            Name::Growth => Box::pin(growth::table(scale)).await,
            Name::Instances => Box::pin(instances::table(scale)).await,
            Name::Invalidations => Box::pin(invalidations::table(scale)).await,
        };
        let took = clock.now().since(began).as_secs();
        println!("\n{table}\n\n{took} s; afterwards load average {}", machine::load_average());
    }
}
