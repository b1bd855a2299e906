//! Compares the topics of competitors with those that the user covers: a pure function of rows that other sources have
//! read, plus one statement for the user's calendar.
//!
//! Topics are not configured: they are terms that competitors' passages have in common, weighted with BM25's
//! saturation. Each number can be recomputed by hand from data.md section 7, whose worked example is a test here. No
//! model is asked, so equal rows give equal results.

mod corpus;
mod events;
mod gaps;
mod input;
mod insights;
mod keywords;
mod passages;
mod recommend;
mod terms;
mod topics;

#[cfg(test)]
mod tests;

use super::value::count;
use crate::proto::v1::GapAnalysis;
use corpus::Corpus;
use keywords::Keywords;
use topics::Topics;

pub use events::{CalendarEvent, events};
pub use input::GapInput;

/// The section's reason when no competitor has a text to compare with.
pub const NO_COMPETITOR_TEXT: &str = "NO_COMPETITOR_TEXT";

/// Bytes of the texts that [`analyse`] will compare: above 64 KiB it has to run on the blocking pool.
#[must_use]
pub fn text_bytes(input: &GapInput<'_>) -> usize {
    let competitors = input.onboarding.competitors.iter().flat_map(passages::of_competitor);
    competitors.chain(passages::own(input)).map(|passage| passage.text.len()).sum()
}

/// Empty inputs give empty lists and are no error.
#[must_use]
pub fn analyse(input: &GapInput<'_>) -> GapAnalysis {
    let corpus = Corpus::new(input);
    let keywords = Keywords::of(input.onboarding);
    let topics = Topics::find(&corpus, &keywords);

    let computed = gaps::computed(&corpus, &topics);
    let opportunities = keywords.opportunities(&corpus);
    GapAnalysis {
        recommendations: recommend::recommendations(&computed, &opportunities, &corpus, &input.onboarding.gap),
        opportunities: recommend::opportunities(&computed, &opportunities, &corpus, &input.onboarding.gap),
        content_gaps: computed.into_iter().chain(gaps::stored(&input.onboarding.gap, &topics)).collect(),
        keyword_opportunities: opportunities,
        competitor_insights: insights::insights(input.onboarding, &corpus, &topics),
        competitors_compared: count(corpus.competitors.len()),
        topics_considered: count(topics.all.len()),
    }
}

/// The reason if there was no text to compare with.
#[must_use]
pub fn reason(analysis: &GapAnalysis) -> Option<&'static str> {
    (analysis.competitors_compared == 0).then_some(NO_COMPETITOR_TEXT)
}
