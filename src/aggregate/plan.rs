//! The request for an assembly, and its result.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{
    ai_analysis::{Budget, Late},
    rows::{Onboarding, ResolvedStrategy},
    sql::Warnings,
};
use crate::model::{SectionSet, snapshot::SectionFacts};

#[derive(Clone, Debug)]
pub struct Plan {
    /// The sections to return. Sources that these are made from are read too, but yield no part.
    pub sections: SectionSet,
    /// The instant that windows and ages are counted from, taken once for all sources.
    pub as_of: DateTime<Utc>,
    /// Refresh: the AI response cache is not looked up.
    pub refresh: bool,
    /// The time for the whole assembly. Optional sections that are not ready half a second before its end are left out.
    pub budget: Duration,
    /// Onboarding rows that are known and not outdated: other sections are made from them without reading them again.
    /// Ignored if the onboarding section itself is to be returned.
    pub onboarding: Option<Arc<Onboarding>>,
    /// Set for a prefetch: AI calls are made only within this budget.
    pub ai_calls: Option<Arc<Budget>>,
}

#[derive(Clone, Debug)]
pub struct Assembled {
    /// One part per section of the plan, in no particular order.
    pub parts: Vec<AssembledPart>,
    /// The strategy that the sections are about; none: the user has no strategy.
    pub strategy: Option<ResolvedStrategy>,
    /// The AI analysis FAILED only because its call takes long; tells when to assemble it again.
    pub late: Option<Late>,
}

/// One section, fresh from its source.
#[derive(Clone, Debug)]
pub struct AssembledPart {
    pub facts: SectionFacts,
    /// A `ComprehensiveUserData` that has only this section's fields, encoded; empty if it FAILED.
    pub bytes: Bytes,
    /// The rows that other sections are made from, to be stored beside this one; empty if there are none.
    pub rows: Bytes,
}

/// A source's result, and warnings of what was left out of it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    pub value: T,
    pub warnings: Warnings,
}
