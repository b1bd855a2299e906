//! The top-level fields of each section, and splitting a document by sections.
//!
//! Sections own contiguous field numbers in document order, so a document's bytes are its sections'
//! bytes one after the other.

use bytes::Bytes;
use prost::Message as _;

use super::{Section, section::DOCUMENT_ORDER};
use crate::proto::v1::ComprehensiveUserData;

/// The names of a section's fields.
#[must_use]
pub fn fields(section: Section) -> &'static [&'static str] {
    match section {
        Section::Derived => &["user_id", "industry", "target_audience", "business_goals", "platform_preferences"],
        Section::Onboarding => &["onboarding_data", "website_analysis", "competitor_analysis", "keyword_analysis"],
        Section::Strategy => &["strategy_data", "strategy_analysis", "quality_indicators"],
        Section::AiAnalysis => &["ai_analysis_results"],
        Section::GapAnalysis => &["gap_analysis"],
        Section::Performance => &["performance_data"],
        Section::Recommendations => &["recommendations_data"],
        Section::Unspecified => &[],
    }
}

/// Moves the fields of a section into a document of their own.
#[must_use]
pub fn take(document: &mut ComprehensiveUserData, section: Section) -> ComprehensiveUserData {
    use std::mem::take;
    let mut part = ComprehensiveUserData::default();
    match section {
        Section::Derived => {
            part.user_id = take(&mut document.user_id);
            part.industry = take(&mut document.industry);
            part.target_audience = take(&mut document.target_audience);
            part.business_goals = take(&mut document.business_goals);
            part.platform_preferences = take(&mut document.platform_preferences);
        }
        Section::Onboarding => {
            part.onboarding_data = take(&mut document.onboarding_data);
            part.website_analysis = take(&mut document.website_analysis);
            part.competitor_analysis = take(&mut document.competitor_analysis);
            part.keyword_analysis = take(&mut document.keyword_analysis);
        }
        Section::Strategy => {
            part.strategy_data = take(&mut document.strategy_data);
            part.strategy_analysis = take(&mut document.strategy_analysis);
            part.quality_indicators = take(&mut document.quality_indicators);
        }
        Section::AiAnalysis => part.ai_analysis_results = take(&mut document.ai_analysis_results),
        Section::GapAnalysis => part.gap_analysis = take(&mut document.gap_analysis),
        Section::Performance => part.performance_data = take(&mut document.performance_data),
        Section::Recommendations => part.recommendations_data = take(&mut document.recommendations_data),
        Section::Unspecified => {}
    }
    part
}

/// The bytes of each section in document order. Their concatenation is the encoded document.
#[must_use]
pub fn encode_sections(mut document: ComprehensiveUserData) -> Vec<(Section, Bytes)> {
    DOCUMENT_ORDER.into_iter().map(|section| (section, take(&mut document, section).encode_to_vec().into())).collect()
}

/// Removes the times when rows were last saved, which can change although no data did (data.md, section 13).
pub fn forget_saves(document: &mut ComprehensiveUserData) {
    if let Some(strategy) = &mut document.strategy_data {
        strategy.updated_at = None;
    }
    document.recommendations_data.iter_mut().for_each(|recommendation| recommendation.updated_at = None);
    // Of competitors without a date of their analysis, it is when their row was saved.
    for insight in document.gap_analysis.iter_mut().flat_map(|gaps| &mut gaps.competitor_insights) {
        insight.last_analyzed_at = None;
    }
    let seo = document.onboarding_data.as_mut().and_then(|onboarding| onboarding.seo_profile.as_mut());
    if let Some(benchmarks) = seo.and_then(|seo| seo.competitor_seo_benchmarks.as_mut()) {
        for score in [&mut benchmarks.best_competitor, &mut benchmarks.worst_competitor].into_iter().flatten() {
            score.last_analyzed_at = None;
        }
    }
}
