//! The comparison of what competitors write about with what the user covers: a pure function of
//! rows that other sources have loaded, plus one statement for the user's calendar.
//!
//! Topics are found, not configured: terms that competitors' passages have in common, weighed with
//! BM25's saturation. Every figure can be recomputed by hand from data.md section 7, whose worked
//! example is a test here. Nothing asks a model, so equal rows give equal results.

mod corpus;
mod gaps;
mod insights;
mod keywords;
mod passages;
mod recommend;
mod terms;
mod topics;

#[cfg(test)]
mod tests;

use super::{
    SourceError,
    rows::{Onboarding, ResolvedStrategy, Strategy},
    sql::{Column, SourceDatabase},
};
use crate::{
    model::UserId,
    proto::v1::{GapAnalysis, StrategyKind},
};
use corpus::Corpus;
use keywords::Keywords;
use topics::Topics;

/// The section's reason when no competitor has a text to compare with.
pub const NO_COMPETITOR_TEXT: &str = "NO_COMPETITOR_TEXT";

/// Planned or published content: what is planned counts as covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalendarEvent {
    /// `title`.
    pub title: String,
    /// `description`, its first 4,000 characters.
    pub description: Option<String>,
}

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

/// The newest events that are not cancelled, of the analytics scope `own`. Descriptions are cut
/// because the column has no limit; topics show in a text's beginning.
const EVENTS: &str = "
FROM calendar_events ce
WHERE ce.strategy_id IN (SELECT own.id FROM own) AND (ce.status IS NULL OR LOWER(ce.status) <> 'cancelled')
ORDER BY ce.scheduled_date DESC, ce.id DESC LIMIT 300";
const OWN_LEGACY: &str = "SELECT CAST(:strategy AS INTEGER) AS id";
const OWN_ALL: &str = "SELECT id FROM content_strategies WHERE user_id = :user";

/// The user's calendar in the analytics scope: the resolved LEGACY strategy's events, else those of
/// all the user's legacy strategies, which calendars hang on.
pub async fn events(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
) -> Result<Vec<CalendarEvent>, SourceError> {
    let Some(user) = user.integer() else { return Ok(Vec::new()) };
    let (own, scope) = match resolved {
        Some(ResolvedStrategy { kind: StrategyKind::Legacy, id }) => (OWN_LEGACY, ("strategy", id.into())),
        _ => (OWN_ALL, ("user", user.into())),
    };
    let reading = database.begin().await?;
    let title = reading.dialect().select("ce", &[Column::Text("title")]);
    let sql = format!(
        "WITH own AS ({own}) SELECT {title}, SUBSTR(CAST(ce.description AS TEXT), 1, 4000) AS description {EVENTS}"
    );
    let rows = reading.all(&sql, &[scope]).await?;
    reading.end().await?;
    Ok(rows
        .iter()
        .map(|row| CalendarEvent { title: row.text("title").unwrap_or_default(), description: row.text("description") })
        .collect())
}

/// Bytes of the texts that [`analyse`] will compare: above 64 KiB it belongs on the blocking pool.
#[must_use]
pub fn text_bytes(input: &GapInput<'_>) -> usize {
    let competitors = input.onboarding.competitors.iter().flat_map(passages::of_competitor);
    competitors.chain(passages::own(input)).map(|passage| passage.text.len()).sum()
}

/// Compares. Empty inputs give empty lists; none of it is an error.
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

/// Why an analysis found nothing to compare with; none if it did.
#[must_use]
pub fn reason(analysis: &GapAnalysis) -> Option<&'static str> {
    (analysis.competitors_compared == 0).then_some(NO_COMPETITOR_TEXT)
}

/// At most 50 competitors and 200 topics: it always fits.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
