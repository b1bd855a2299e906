//! What an assembly is asked for, and what comes out of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{
    ai_analysis::{Budget, Late},
    rows::{Onboarding, ResolvedStrategy},
    sql::Warnings,
};
use crate::model::{SectionSet, snapshot::SectionFacts};

/// What is to be assembled, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sections wanted. What they are made from is read too, but yields no part.
    pub sections: SectionSet,
    /// The instant that windows and ages are counted from, taken once for all sources.
    pub as_of: DateTime<Utc>,
    /// The caller wants nothing remembered: the AI response cache is not looked up.
    pub refresh: bool,
    /// How long the whole may take: what is optional and not there half a second before is left out.
    pub budget: Duration,
    /// The onboarding rows, if they are known and not outdated: other sections are made from them without reading
    /// them again. Left aside if the onboarding section itself is wanted.
    pub onboarding: Option<Arc<Onboarding>>,
    /// Nobody waits for it, so that it may cost AI calls only within this.
    pub ai_calls: Option<Arc<Budget>>,
}

/// What was assembled.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// One part per section wanted, in no particular order.
    pub parts: Vec<AssembledPart>,
    /// Which strategy the sections are about; none: the user has none.
    pub strategy: Option<ResolvedStrategy>,
    /// The AI analysis FAILED only because its call takes long: when to assemble it again.
    pub late: Option<Late>,
}

/// One section, fresh from its source.
#[derive(Clone, Debug)]
pub struct AssembledPart {
    /// How it came about: OK, NOT_FOUND or FAILED.
    pub facts: SectionFacts,
    /// A `ComprehensiveUserData` that has only this section's fields, encoded; empty if it FAILED.
    pub bytes: Bytes,
    /// What other sections are made from too, to be kept beside it; empty if nothing is.
    pub rows: Bytes,
}

/// What a source hands on: its result, and what was left out of it.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The result.
    pub value: T,
    /// For the section's report.
    pub warnings: Warnings,
}
