//! The change feed: from a writer's commit in the sources to every reader. docs/model.md lists what each model holds.
//!
//! Each part is a model with a state of its own and as little as its rules need, so that it is explored to its end.

mod adoption;
mod clones;
mod consumption;
mod epochs;
mod newer;
mod replicas;
mod rounds;
mod siblings;
mod triggers;
mod witnesses;

use crate::{holds, is_caught};
use adoption::{Adoption, AdoptionMutant};
use clones::{CloneMutant, Clones};
use consumption::{Consumption, ConsumptionMutant};
use epochs::{EpochMutant, Epochs};
use newer::{Newer, NewerMutant};
use replicas::{ReplicaMutant, Replicas};
use rounds::{RoundMutant, Rounds};
use siblings::{SiblingMutant, Siblings};
use triggers::{TriggerMutant, Triggers};
use witnesses::{WitnessMutant, Witnesses};

const ROUNDS: Rounds = Rounds {
    mutant: None,
    relays: 2,
    changes: 1,
    polls: 2,
    rounds: 4,
    takeovers: 2,
    faults: 1,
    losses: 0,
    begins: &[1],
    two_statements: false,
    races: false,
    linearizable: false,
};
/// The round and the log's head come from two files.
const TWO_FILES: Rounds = Rounds { two_statements: true, polls: 1, ..ROUNDS };
/// The table is lost, and begins again at a number that it had: the clock has stepped back.
const LOST_TABLE: Rounds = Rounds { losses: 1, ..ROUNDS };
/// Two inserts are executed at the same time.
const RACES: Rounds = Rounds { races: true, polls: 0, ..ROUNDS };
const LINEARIZABLE: Rounds = Rounds { relays: 1, polls: 1, changes: 2, faults: 0, linearizable: true, ..ROUNDS };

const CONSUMPTION: Consumption = Consumption {
    mutant: None,
    transactions: 3,
    relays: &[0, 0],
    both_registered: false,
    trims: 0,
    drops: 0,
    crashes: 0,
    restores: 0,
    log_restores: 0,
    deaths: 1,
};
/// Two clusters trim one outbox; the second one registers.
const TWO_CLUSTERS: Consumption = Consumption { transactions: 2, relays: &[0, 1], trims: 2, drops: 1, ..CONSUMPTION };
/// Both are registered.
const TWO_CONSUMERS: Consumption = Consumption { both_registered: true, ..TWO_CLUSTERS };
/// The sources' PostgreSQL crashes, and gives numbers again.
const CRASHED_SOURCES: Consumption = Consumption { crashes: 1, relays: &[0], trims: 1, ..CONSUMPTION };
/// The sources are restored, or the log's database, or both.
const RESTORED: Consumption = Consumption { restores: 1, log_restores: 1, relays: &[0], trims: 1, ..CONSUMPTION };

const TRIGGERS: Triggers = Triggers { mutant: None, ddl: 3, deaths: 1, in_row: true };
/// A reader learns from the log's database for which sections a round counts.
const BESIDE_THE_LOG: Triggers = Triggers { in_row: false, ..TRIGGERS };
const SIBLINGS: Siblings = Siblings { mutant: None };

/// The log's database loses commits while no instance lives.
const STOPPED: Witnesses = Witnesses {
    mutant: None,
    invalidations: &[true, false, true],
    deaths: 2,
    losses: 1,
    renewals: 0,
    lost_while_alive: false,
};
/// It may lose the beginning of an epoch.
const LOST_EPOCH: Witnesses = Witnesses { renewals: 1, invalidations: &[true], ..STOPPED };
/// It loses commits that a living instance has not applied yet.
const LAGGING: Witnesses =
    Witnesses { lost_while_alive: true, deaths: 1, invalidations: &[true, false, false], ..STOPPED };

const ADOPTION: Adoption = Adoption { mutant: None, invalidations: 3 };
const REPLICAS: Replicas = Replicas { mutant: None, changes: 3, replicas: 2 };

const CLONES: Clones = Clones { mutant: None, clones: true, restores: 0, deaths: 2 };
const RESTORED_ROW: Clones = Clones { clones: false, restores: 1, ..CLONES };

const NEWER: Newer = Newer { mutant: None, entries: 3, epochs: 2, clock: 2 };

/// A relay begins an epoch.
const EPOCHS: Epochs = Epochs { mutant: None, changes: 1, polls: 1, rounds: 4, renewals: 1, losses: 0, plain: 1 };
/// The log loses commits, and a reader begins an epoch.
const LOST_ENTRIES: Epochs = Epochs { renewals: 0, losses: 1, ..EPOCHS };

macro_rules! keeps {
    ($($name:ident: $model:expr;)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name), &$model);
        })*
    };
}

macro_rules! mutants {
    ($mutants:ident: $($name:ident: $mutant:ident in $model:ident;)*) => {
        $(#[test]
        fn $name() {
            let mutant = $mutants::$mutant;
            let mut model = $model;
            model.mutant = Some(mutant);
            is_caught(mutant, &model);
        })*
    };
}

mod keeps_its_promises_in_every_interleaving {
    use super::*;

    keeps! {
        of_rounds_and_takeovers: ROUNDS;
        of_rounds_in_a_file_of_their_own: TWO_FILES;
        of_a_lost_table_of_rounds: LOST_TABLE;
        of_two_inserts_at_once: RACES;
        of_linearizable_requests: LINEARIZABLE;
        of_transactions_in_any_order: CONSUMPTION;
        of_a_cluster_that_registers: TWO_CLUSTERS;
        of_two_clusters: TWO_CONSUMERS;
        of_crashed_sources: CRASHED_SOURCES;
        of_restored_databases: RESTORED;
        of_removed_triggers: TRIGGERS;
        of_removed_triggers_told_beside_the_log: BESIDE_THE_LOG;
        of_rows_with_siblings: SIBLINGS;
        of_a_log_that_loses_commits_while_stopped: STOPPED;
        of_a_log_that_loses_an_epoch: LOST_EPOCH;
        of_a_log_that_loses_what_a_living_instance_lacks: LAGGING;
        of_an_epoch_that_another_instance_began: ADOPTION;
        of_a_cloned_log: CLONES;
        of_a_restored_consumer_row: RESTORED_ROW;
        of_copies_of_a_document: NEWER;
        of_polls_over_another_epoch: EPOCHS;
        of_polls_over_lost_entries: LOST_ENTRIES;
        of_replicas: REPLICAS;
    }

    #[test]
    #[ignore = "50 s of one core and 2 GB; cargo test -p userdata-model of_two_polls -- --ignored --nocapture"]
    fn of_two_polls_over_lost_entries() {
        holds("of_two_polls_over_lost_entries", &Epochs { polls: 2, ..LOST_ENTRIES });
    }

    #[test]
    #[ignore = "45 s of one core and 2 GB; cargo test -p userdata-model of_many_rounds -- --ignored --nocapture"]
    fn of_many_rounds() {
        holds("of_many_rounds", &Rounds { rounds: 5, begins: &[1, 3], ..LOST_TABLE });
    }
}

mutants! {
    RoundMutant:
    the_mutant_whose_takeover_completes_a_round_is_caught: TakeoverCompletes in ROUNDS;
    the_mutant_that_ends_a_round_before_it_is_durable_is_caught: EndsBeforeDurable in ROUNDS;
    the_mutant_that_counts_the_completed_round_is_caught: CountsTheCompletedRound in ROUNDS;
    the_mutant_that_counts_the_poll_itself_is_caught: CountsThePollItself in ROUNDS;
    the_mutant_that_reads_the_log_before_the_round_is_caught: LogBeforeRound in ROUNDS;
    the_mutant_that_certifies_before_the_rows_is_caught: CertifiesBeforeTheRows in ROUNDS;
    the_mutant_that_counts_from_the_answer_is_caught: CountsFromTheAnswer in ROUNDS;
    the_mutant_without_compare_and_set_is_caught: NoCompareAndSet in RACES;
    the_mutant_without_a_condition_is_caught: NoCondition in LOST_TABLE;
    the_mutant_whose_tables_have_the_same_birth_is_caught: SameBirth in LOST_TABLE;
    the_mutant_that_keeps_polls_of_another_birth_is_caught: KeepsPollsOfAnotherBirth in LOST_TABLE;
    the_mutant_with_the_same_holder_is_caught: SameHolder in LOST_TABLE;
    the_mutant_that_reads_the_log_before_the_outbox_is_caught: LogBeforeOutbox in LINEARIZABLE;
    the_mutant_that_does_not_look_into_the_outbox_is_caught: NoLookIntoTheOutbox in LINEARIZABLE;
    the_mutant_that_waits_for_any_round_is_caught: AnyRoundWillDo in LINEARIZABLE;
}

mutants! {
    ConsumptionMutant:
    the_mutant_that_stores_only_the_highest_number_is_caught: OnlyTheHighestNumber in CONSUMPTION;
    the_mutant_with_the_snapshot_after_the_notes_is_caught: SnapshotAfterTheNotes in CONSUMPTION;
    the_mutant_that_stores_before_it_appends_is_caught: StoredBeforeAppended in CONSUMPTION;
    the_mutant_that_stores_after_it_has_appended_is_caught: StoredAfterAppended in CONSUMPTION;
    the_mutant_that_stores_over_another_relay_is_caught: NoCompareAndSet in CONSUMPTION;
    the_mutant_that_reads_trimmed_below_apart_is_caught: TrimmedBelowReadApart in TWO_CONSUMERS;
    the_mutant_that_ignores_trimming_is_caught: IgnoresTrimming in TWO_CONSUMERS;
    the_mutant_that_raises_trimmed_below_after_trimming_is_caught: RaisedAfterTrimming in TWO_CONSUMERS;
    the_mutant_that_trims_for_itself_is_caught: TrimsForItself in TWO_CONSUMERS;
    the_mutant_that_reports_before_it_has_stored_is_caught: ReportsBeforeItIsStored in TWO_CONSUMERS;
    the_mutant_that_begins_an_epoch_before_the_snapshot_is_caught: EpochBeforeSnapshot in TWO_CLUSTERS;
    the_mutant_that_ignores_the_timeline_is_caught: IgnoresTheTimeline in RESTORED;
    the_mutant_that_ignores_a_start_is_caught: IgnoresAStart in CRASHED_SOURCES;
    the_mutant_that_trims_by_rows_of_another_start_is_caught: TrimsByRowsOfAnotherStart in CRASHED_SOURCES;
    the_mutant_that_trusts_numbers_after_a_start_is_caught: TrustsNumbersAfterAStart in CRASHED_SOURCES;
}

mutants! {
    TriggerMutant:
    the_mutant_that_only_looks_for_triggers_is_caught: OnlyLooksWhetherItIsThere in TRIGGERS;
    the_mutant_that_counts_without_triggers_is_caught: CountsUnwatched in TRIGGERS;
    the_mutant_with_an_old_fingerprint_is_caught: ReadBeforeTheRound in TRIGGERS;
    the_mutant_that_invalidates_after_the_round_is_caught: InvalidatesAfterTheRound in TRIGGERS;
    the_mutant_with_the_fingerprint_in_memory_is_caught: FingerprintInMemory in TRIGGERS;
    the_mutant_whose_takeover_forgets_the_unwatched_is_caught: TakeoverForgetsUnwatched in TRIGGERS;
    the_mutant_that_trusts_a_function_without_a_lock_is_caught: FunctionWithoutLock in TRIGGERS;
}

mutants! {
    SiblingMutant:
    the_mutant_whose_trigger_looks_for_siblings_is_caught: TriggerLooks in SIBLINGS;
    the_mutant_that_looks_for_siblings_in_an_earlier_snapshot_is_caught: EarlierSnapshot in SIBLINGS;
    the_mutant_that_looks_for_siblings_in_a_later_snapshot_is_caught: LaterSnapshot in SIBLINGS;
    the_mutant_to_which_updated_at_never_matters_is_caught: NeverMatters in SIBLINGS;
}

mutants! {
    WitnessMutant:
    the_mutant_without_a_witness_is_caught: NoWitness in STOPPED;
    the_mutant_that_reads_the_head_before_the_witness_is_caught: HeadBeforeWitness in STOPPED;
    the_mutant_that_reads_the_head_before_the_document_is_caught: HeadBeforeDocument in STOPPED;
    the_mutant_that_compares_only_positions_is_caught: OnlyPositions in LAGGING;
    the_mutant_that_raises_a_witness_unchecked_is_caught: RaisedUnchecked in LAGGING;
    the_mutant_that_acknowledges_before_the_witness_is_caught: AcknowledgesBeforeTheWitness in STOPPED;
    the_mutant_that_stores_before_the_witness_is_caught: StoresBeforeTheWitness in STOPPED;
    the_mutant_that_leaves_an_old_witness_is_caught: EpochNotEnded in LOST_EPOCH;
    the_mutant_that_counts_epochs_is_caught: EpochsAreCounted in LOST_EPOCH;
}

mutants! {
    AdoptionMutant:
    the_mutant_that_adopts_and_appends_nothing_is_caught: AppendsNothing in ADOPTION;
    the_mutant_that_adopts_before_it_appends_is_caught: AdoptsFirst in ADOPTION;
    the_mutant_that_appends_only_its_last_entry_is_caught: AppendsOnlyTheLast in ADOPTION;
}

mutants! {
    ReplicaMutant:
    the_mutant_that_reads_a_replica_as_a_primary_is_caught: ReadAsAPrimary in REPLICAS;
    the_mutant_that_asks_the_primary_before_the_read_position_is_caught: AskedBeforeThePosition in REPLICAS;
    the_mutant_that_looks_at_a_replica_after_the_read_is_caught: LookedAtAfterTheRead in REPLICAS;
    the_mutant_that_reads_another_replica_is_caught: AnyReplica in REPLICAS;
}

mutants! {
    CloneMutant:
    the_mutant_that_keeps_its_nonce_is_caught: SameNonce in CLONES;
    the_mutant_that_compares_no_nonce_is_caught: ComparesNothing in RESTORED_ROW;
    the_mutant_that_reports_a_nonce_before_it_is_stored_is_caught: StoredAfterReported in CLONES;
    the_mutant_that_knows_only_its_last_nonce_is_caught: OnlyTheLast in CLONES;
}

mutants! {
    NewerMutant:
    the_mutant_that_orders_copies_by_clock_is_caught: ByClock in NEWER;
    the_mutant_that_orders_valid_copies_by_clock_is_caught: ByClockAmongValid in NEWER;
    the_mutant_that_compares_positions_of_two_epochs_is_caught: AcrossEpochs in NEWER;
}

mutants! {
    EpochMutant:
    the_mutant_that_takes_the_snapshot_in_the_epoch_is_caught: EpochBeforeSnapshot in EPOCHS;
    the_mutant_that_keeps_documents_of_another_epoch_is_caught: KeepsDocuments in EPOCHS;
    the_mutant_that_compares_the_head_of_another_epoch_is_caught: HeadOfAnotherEpoch in EPOCHS;
    the_mutant_that_does_not_compare_the_head_is_caught: HeadNotCompared in LOST_ENTRIES;
}
