//! The input of the comparison.

use super::events::CalendarEvent;
use crate::aggregate::rows::{Onboarding, Strategy};

#[derive(Clone, Copy, Debug)]
pub struct GapInput<'a> {
    /// For competitors, website and the stored gap row.
    pub onboarding: &'a Onboarding,
    /// For its pillars.
    pub strategy: Option<&'a Strategy>,
    pub events: &'a [CalendarEvent],
}
