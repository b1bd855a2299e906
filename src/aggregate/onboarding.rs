//! The onboarding source: what the user entered and what was found out about the site and its
//! competitors (data.md, section 5).
//!
//! Reading and judging are apart: [`load`] sends the statements and hands out rows, everything else
//! is pure and turns the same rows into the same message. Where a rule or a constant stands in for
//! what is not known, `sources` says so.

mod competitors;
mod content;
mod defaults;
mod intelligence;
mod load;
mod profile;
mod provenance;
mod seo;
mod statements;
mod website;

#[cfg(test)]
mod database_tests;

use load::Loaded;
use provenance::Sources;

use super::{
    Read, SourceError,
    rows::Onboarding,
    sql::{SourceDatabase, Warnings},
    value::{member, strings},
};
use crate::{
    model::UserId,
    proto::v1::{BusinessInfo, CompetitorAnalysis, ComprehensiveUserData, OnboardingData},
};

/// Reads everything of a user's onboarding, in one transaction.
pub async fn read(database: &SourceDatabase, user: &UserId) -> Result<Read<Onboarding>, SourceError> {
    let mut warnings = Warnings::default();
    let reading = database.begin().await?;
    let loaded = load::load(&reading, user, &mut warnings).await?;
    reading.end().await?;
    Ok(Read { value: onboarding(loaded, &mut warnings), warnings })
}

/// The section's fields of the document: the message, and copies of three of its parts.
#[must_use]
pub fn document(onboarding: &OnboardingData) -> ComprehensiveUserData {
    ComprehensiveUserData {
        website_analysis: onboarding.website_analysis.clone(),
        competitor_analysis: onboarding.competitor_analysis.clone(),
        keyword_analysis: onboarding.keyword_analysis.clone(),
        onboarding_data: Some(onboarding.clone()),
        ..ComprehensiveUserData::default()
    }
}

/// The message, and the rows that other sources work on.
fn onboarding(loaded: Loaded, warnings: &mut Warnings) -> Onboarding {
    Onboarding {
        session: loaded.session,
        found: loaded.session || loaded.deep_task.is_some() || loaded.gap.is_some(),
        data: data(&loaded, warnings),
        website: loaded.website.unwrap_or_default().shared,
        competitors: loaded.competitors,
        gap: loaded.gap.unwrap_or_default(),
    }
}

/// Every field's rule, in the order of section 5.
fn data(loaded: &Loaded, warnings: &mut Warnings) -> OnboardingData {
    // A missing row and a row in which everything is absent give the same fields, but for
    // `website_analysis` and `research_preferences`, which ask for the row itself.
    let (no_website, no_research, no_persona, no_gap) = Default::default();
    let web = loaded.website.as_ref().unwrap_or(&no_website);
    let res = loaded.research.as_ref().unwrap_or(&no_research);
    let per = loaded.persona.as_ref().unwrap_or(&no_persona);
    let gap = loaded.gap.as_ref().unwrap_or(&no_gap);

    let mut sources = Sources::default();
    let website_analysis = website::analysis(loaded.website.as_ref(), &mut sources);
    let basis = defaults::Basis::of(&website_analysis, &web.content_type);
    let industry = profile::industry(web, res, per, &mut sources);
    let target_audience = profile::target_audience(web, res, per, &mut sources);

    OnboardingData {
        business_info: Some(BusinessInfo { industry: industry.clone(), target_audience: target_audience.clone() }),
        industry,
        target_audience,
        writing_tone: profile::TONE.read(web, res, &mut sources),
        writing_voice: profile::VOICE.read(web, res, &mut sources),
        writing_complexity: profile::COMPLEXITY.read(web, res, &mut sources),
        writing_engagement: profile::ENGAGEMENT.read(web, res, &mut sources),
        content_types: profile::content_types(web, res, &mut sources),
        brand_colors: profile::brand_list(web, "color_palette", &mut sources),
        brand_values: profile::brand_list(web, "brand_values", &mut sources),
        visual_style: profile::visual_style(&web.style_guidelines),
        strategy_insights: profile::strategy_insights(&web.shared.content_strategy_insights),
        seo_profile: seo::profile(web, loaded.page_audits.as_ref(), &loaded.competitors, &mut sources),
        competitive_intelligence: intelligence::competitive(loaded.deep_task.as_ref(), web, warnings),
        platform_preferences: profile::platform_preferences(per, &mut sources),
        research_depth: res.depth.clone(),
        auto_research: res.auto_research,
        factual_content: res.factual_content,
        posting_preferences: Some(defaults::posting(&mut sources)),
        posting_days: defaults::texts(&defaults::POSTING_DAYS),
        optimal_times: defaults::texts(&defaults::OPTIMAL_TIMES),
        competitor_analysis: Some(CompetitorAnalysis {
            top_performers: competitors::top_performers(&loaded.competitors, &basis, &mut sources),
            industry: website_analysis.industry_focus.clone(),
            target_demographics: strings(member(&web.target_audience, "demographics")),
        }),
        gap_analysis: Some(content::gaps(&web.shared.content_strategy_insights, gap, &basis, &mut sources)),
        keyword_analysis: Some(content::keywords(gap, &basis, &mut sources)),
        research_preferences: loaded.research.as_ref().map(profile::research_preferences),
        website_analysis: Some(website_analysis),
        sources: sources.into_map(),
    }
}

#[cfg(test)]
mod tests {}
