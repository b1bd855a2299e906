//! `seo_profile`: the homepage's audit, the site's pages and the competitors' homepages.

use serde_json::Value as Json;

use super::{
    load::{PageAudits, Website},
    provenance::{Origin, Sources},
};
use crate::{
    aggregate::{
        rows::CompetitorRow,
        value::{filled, member, number, path, round},
    },
    proto::{
        Value,
        v1::{CompetitorSeoBenchmarks, CompetitorSeoScore, SeoProfile, SiteSeoSummary},
    },
};

/// The message; absent if none of its parts is there.
pub(super) fn profile(
    web: &Website,
    page_audits: Option<&PageAudits>,
    competitors: &[CompetitorRow],
    sources: &mut Sources,
) -> Option<SeoProfile> {
    let audit = &web.shared.seo_audit;
    let sitemap = member(audit, "sitemap_strategy_insights");
    let profile = SeoProfile {
        homepage_seo_audit: audit.is_object().then(|| Value::from(audit.clone())),
        full_site_seo_summary: page_audits.and_then(site_summary),
        sitemap_strategy_insights: filled(sitemap).then(|| Value::from(sitemap.clone())),
        competitor_seo_benchmarks: benchmarks(competitors),
    };
    // The sitemap insights are a part of the homepage's audit.
    let origin = if profile.homepage_seo_audit.is_some() {
        Origin::WebsiteAnalysis
    } else if profile.full_site_seo_summary.is_some() {
        Origin::SeoPageAudits
    } else if profile.competitor_seo_benchmarks.is_some() {
        Origin::CompetitorAnalyses
    } else {
        return None;
    };
    Some(sources.note("seo_profile", (profile, origin)))
}

fn site_summary(audits: &PageAudits) -> Option<SiteSeoSummary> {
    (audits.pages_audited > 0).then(|| SiteSeoSummary {
        pages_audited: audits.pages_audited,
        pages_scored: audits.pages_scored,
        avg_score: audits.avg_score.map_or(0.0, |score| round(score, 1)),
        fix_scheduled_pages: audits.fix_scheduled_pages,
        worst_pages: audits.worst_pages.clone(),
    })
}

/// Over the competitors whose audit has a score; absent if none has, or if their mean is not finite.
fn benchmarks(competitors: &[CompetitorRow]) -> Option<CompetitorSeoBenchmarks> {
    let mut scored: Vec<(f64, &CompetitorRow)> =
        competitors.iter().filter_map(|row| Some((seo_score(&row.analysis_data)?, row))).collect();
    scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.domain.cmp(&right.domain)));
    let best = *scored.first()?;
    // Of equal ones the first by domain, here too.
    let worst = *scored.iter().find(|(score, _)| score.total_cmp(&scored[scored.len() - 1].0).is_eq())?;
    let count = i32::try_from(scored.len()).ok()?;
    let mean = scored.iter().map(|(score, _)| score).sum::<f64>() / f64::from(count);
    mean.is_finite().then(|| CompetitorSeoBenchmarks {
        competitors_with_seo_audit: count,
        avg_homepage_seo_score: round(mean, 1),
        best_competitor: Some(score_message(best)),
        worst_competitor: Some(score_message(worst)),
    })
}

fn seo_score(analysis_data: &Json) -> Option<f64> {
    number(path(analysis_data, "seo_audit.overall_score"))
}

fn score_message((overall_score, row): (f64, &CompetitorRow)) -> CompetitorSeoScore {
    CompetitorSeoScore {
        competitor_url: row.url.clone(),
        competitor_domain: row.domain.clone(),
        overall_score,
        last_analyzed_at: row.last_analyzed_at().map(Into::into),
    }
}
