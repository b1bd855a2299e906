//! The protocol of the invalidation log, the load lease and the change feed, checked in every interleaving of small configurations.
//! Also checked with one of its rules broken; a test passes only if a promise is then broken. docs/model.md explains how
//! to read it.
//!
//! It uses nothing of the crate: it checks the rules that the code has to follow.

#![expect(clippy::print_stderr, reason = "the numbers of states, and counterexamples")]

mod change_feed;
mod configurations;
mod explore;
mod load_lease;
mod mutants;
mod properties;
mod state;
mod step;

use std::fmt::Debug;

use configurations::Configuration;
use explore::{Explored, Model, explore};
use load_lease::LoadLease;
use mutants::Mutant;
use step::Protocol;

const LOAD_LEASE: LoadLease = LoadLease { mutant: None, invalidations: 1, faults: 1, ticks: 5 };

fn explored(name: &str, model: &impl Model) -> Explored {
    let explored = explore(model);
    let Explored { states, steps, depth, .. } = explored;
    eprintln!("{name}: {states} states, {steps} steps, {depth} deep");
    explored
}

fn holds(name: &str, model: &impl Model) {
    if let Some(counterexample) = explored(name, model).counterexample {
        panic!("{name}:\n{counterexample}");
    }
}

fn is_caught(mutant: impl Debug, model: &impl Model) {
    let explored = explored(&format!("{mutant:?}"), model);
    eprintln!("{}", explored.counterexample.unwrap_or_else(|| panic!("nothing notices {mutant:?}")));
}

/// One test per configuration, so that they run in parallel.
mod the_protocol_keeps_its_promises_in_every_interleaving {
    use super::*;

    macro_rules! of {
        ($($name:ident: $configuration:ident;)*) => {
            $(#[test]
            fn $name() {
                let configuration = configurations::$configuration;
                holds(stringify!($name), &Protocol { configuration, mutant: None });
            })*
        };
    }

    of! {
        of_slow_loads: SLOW_LOADS;
        of_a_lying_redis_and_a_restart: LYING_REDIS;
        of_leases_and_wait_all: LEASES;
        of_two_writers_of_the_log: TWO_WRITERS;
        of_tokens_and_linearizable_requests: TOKENS;
        of_trimming_and_pruning: LOW_WATERMARK;
        of_lost_commits: LOST_COMMITS;
        of_the_renewal_of_a_lost_invalidation: RENEWAL;
        of_commits_lost_between_two_reads: LOSS_BETWEEN_READS;
        of_invalidations_of_sections: SECTIONS;
        of_partial_documents: PARTIAL;
    }

    #[test]
    fn of_the_load_lease() {
        holds("of_the_load_lease", &LOAD_LEASE);
    }
}

fn mutant_is_caught(mutant: Mutant, configuration: Configuration) {
    is_caught(mutant, &Protocol { configuration, mutant: Some(mutant) });
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident in $configuration:ident;)*) => {
        $(#[test]
        fn $name() {
            mutant_is_caught(Mutant::$mutant, configurations::$configuration);
        })*
    };
}

mutants! {
    the_mutant_with_the_read_position_taken_at_the_end_is_caught: ReadPositionTakenAtTheEnd in SLOW_LOADS;
    the_mutant_that_joins_an_older_load_is_caught: JoinsAnOlderLoad in SLOW_LOADS;
    the_mutant_that_joins_a_load_of_another_log_is_caught: JoinsAcrossEpochs in LOST_COMMITS;
    the_mutant_that_acknowledges_before_applying_is_caught: AcknowledgesBeforeApplying in SLOW_LOADS;
    the_mutant_that_trusts_redis_is_caught: TrustsRedis in LYING_REDIS;
    the_mutant_without_a_lease_is_caught: NoLease in LEASES;
    the_mutant_with_a_lease_from_the_reads_end_is_caught: LeaseFromTheReadsEnd in LEASES;
    the_mutant_with_a_lease_before_the_rows_is_caught: LeaseBeforeTheRows in LEASES;
    the_mutant_whose_wait_all_does_not_wait_is_caught: WaitAllDoesNotWait in LEASES;
    the_mutant_that_ignores_the_token_is_caught: IgnoresTheToken in TOKENS;
    the_mutant_that_applies_only_its_own_row_is_caught: AppliesOnlyItsOwnRow in TWO_WRITERS;
    the_mutant_with_a_sequence_for_a_counter_is_caught: SequenceForACounter in TWO_WRITERS;
    the_mutant_that_shares_a_sent_catch_up_is_caught: SharesASentCatchUp in TOKENS;
    the_mutant_that_prunes_without_the_low_watermark_is_caught: PrunesWithoutTheLowWatermark in LOW_WATERMARK;
    the_mutant_that_ignores_the_epoch_is_caught: IgnoresTheEpoch in LOST_COMMITS;
    the_mutant_that_takes_the_rows_of_another_log_is_caught: TakesTheRowsOfAnotherLog in LOSS_BETWEEN_READS;
    the_mutant_that_forgets_what_is_made_from_a_section_is_caught: ForgetsWhatIsMadeFromASection in SECTIONS;
    the_mutant_that_reuses_outdated_sections_is_caught: ReusesOutdatedSections in SECTIONS;
    the_mutant_that_stores_partial_over_complete_is_caught: PartialOverComplete in PARTIAL;
}

macro_rules! lease_mutants {
    ($($name:ident: $mutant:ident;)*) => {
        $(#[test]
        fn $name() {
            is_caught(Mutant::$mutant, &LoadLease { mutant: Some(Mutant::$mutant), ..LOAD_LEASE });
        })*
    };
}

lease_mutants! {
    the_mutant_that_takes_over_by_position_is_caught: TakesOverByPosition;
    the_mutant_that_takes_over_without_comparing_is_caught: TakesOverWithoutComparing;
    the_mutant_that_runs_at_an_old_position_is_caught: RunsAtAnOldPosition;
    the_mutant_that_restarts_the_heartbeat_is_caught: RestartsTheHeartbeat;
    the_mutant_without_a_second_look_is_caught: NoSecondLook;
}
