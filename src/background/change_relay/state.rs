//! What the relay remembers between two readings.

use crate::{
    cache::{change_feed::round::Round, invalidation_log::consumption::Consumption},
    changes::Consumed,
    clock::Moment,
};

#[derive(Debug)]
pub(super) struct RelayState {
    /// The round that this instance holds.
    pub(super) held: Option<Held>,
    /// What is stored in the log's database. None: unknown.
    pub(super) stored: Option<Stored>,
    pub(super) pause_until: Moment,
    pub(super) repair_at: Moment,
    pub(super) report_at: Moment,
    /// Whether the last reading failed.
    is_failing: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) round: Round,
    pub(super) since: Moment,
}

/// The row of `change_feed`, read.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) row: Consumption,
    pub(super) consumed: Option<Consumed>,
}

impl Default for RelayState {
    fn default() -> Self {
        let past = Moment::default();
        Self { held: None, stored: None, pause_until: past, repair_at: past, report_at: past, is_failing: false }
    }
}

impl RelayState {
    /// Takes note of a reading that succeeded or failed. Whether that is another outcome than before.
    pub(super) fn reads(&mut self, succeeded: bool) -> bool {
        std::mem::replace(&mut self.is_failing, !succeeded) == succeeded
    }
}

impl Stored {
    pub(super) fn new(row: Consumption) -> Self {
        // What cannot be read is of another version: as if nothing had been read, which outdates everything.
        let consumed = row.consumed.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { row, consumed }
    }

    pub(super) fn followed_by(&self, consumed: &Consumed) -> Self {
        let text = serde_json::to_string(consumed).expect("maps with text keys, numbers and text");
        let row = Consumption { consumed: Some(text), version: rand::random(), ..self.row.clone() };
        Self { row, consumed: Some(consumed.clone()) }
    }
}
