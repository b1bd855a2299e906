//! What the comparison works on.

use super::events::CalendarEvent;
use crate::aggregate::rows::{Onboarding, Strategy};

/// What the analysis is made from.
#[derive(Clone, Copy, Debug)]
pub struct GapInput<'a> {
    /// Competitors, website and the stored gap row.
    pub onboarding: &'a Onboarding,
    /// The user's strategy, for its pillars.
    pub strategy: Option<&'a Strategy>,
    /// The user's calendar.
    pub events: &'a [CalendarEvent],
}
