//! (signatures that the aggregator is built against; the body is being written elsewhere)

use chrono::{DateTime, Utc};

use super::{
    SourceError,
    rows::{Onboarding, Strategy},
};
use crate::{
    model::{Generator, UserId},
    proto::v1::AiAnalysisResults,
};

/// The AI analysis.
#[derive(Debug)]
pub struct AiAnalysis;

/// What is to be analysed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// When.
    pub as_of: DateTime<Utc>,
    /// From what.
    pub onboarding: &'a Onboarding,
    /// And what.
    pub strategy: Option<&'a Strategy>,
    /// Whether the memo is skipped.
    pub refresh: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// None: nothing to analyse.
    pub results: Option<AiAnalysisResults>,
    /// Rules or a model.
    pub generator: Generator,
    /// Provider and model.
    pub detail: String,
}

impl AiAnalysis {
    /// Analyses.
    pub async fn analyse(&self, _request: Request<'_>) -> Result<Analysis, SourceError> {
        unimplemented!()
    }
}
