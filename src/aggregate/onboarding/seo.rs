//! `seo_profile`: audits of the homepage, of the site's pages and of competitors' homepages.

use serde_json::Value as Json;

use super::{
    load::{PageAudits, Website},
    provenance::{Provenance, Sources},
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

/// Absent if all of its parts are absent.
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
        Provenance::WebsiteAnalysis
    } else if profile.full_site_seo_summary.is_some() {
        Provenance::SeoPageAudits
    } else if profile.competitor_seo_benchmarks.is_some() {
        Provenance::CompetitorAnalyses
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

/// The benchmarks of competitors whose audit has a score; absent if there is none, or if the mean is not finite.
fn benchmarks(competitors: &[CompetitorRow]) -> Option<CompetitorSeoBenchmarks> {
    let mut scored: Vec<(f64, &CompetitorRow)> =
        competitors.iter().filter_map(|row| Some((seo_score(&row.analysis_data)?, row))).collect();
    scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.domain.cmp(&right.domain)));
    let best = *scored.first()?;
    // Of equal scores the first by domain, as for the best.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aggregate::rows::WebsiteRow;

    fn site(seo_audit: Json) -> Website {
        Website { shared: WebsiteRow { seo_audit, ..WebsiteRow::default() }, ..Website::default() }
    }

    fn competitor(domain: &str, score: Json) -> CompetitorRow {
        CompetitorRow {
            domain: domain.to_owned(),
            analysis_data: json!({"seo_audit": {"overall_score": score}}),
            ..CompetitorRow::default()
        }
    }

    #[test]
    fn the_profile_is_absent_if_empty_and_names_its_first_part() {
        let pages = |pages_audited| Some(PageAudits { pages_audited, ..PageAudits::default() });
        let scored = || vec![competitor("a", json!(50))];
        for (audit, audits, competitors, source) in [
            (json!({"overall_score": 1}), pages(1), scored(), Some("website_analysis")),
            (json!("broken"), pages(1), scored(), Some("seo_page_audits")),
            (json!([]), pages(0), scored(), Some("competitor_analyses")),
            (json!(null), pages(0), vec![competitor("a", json!("good"))], None),
            (json!(null), None, Vec::new(), None),
        ] {
            let mut sources = Sources::default();
            let profile = profile(&site(audit), audits.as_ref(), &competitors, &mut sources);
            assert_eq!(profile.is_some(), source.is_some());
            assert_eq!(sources.into_map().get("seo_profile").map(String::as_str), source);
        }
    }

    #[test]
    fn the_sites_mean_is_zero_if_nothing_is_scored() {
        for (avg_score, expected) in [(None, 0.0), (Some(66.666), 66.7), (Some(0.25), 0.2)] {
            let audits = PageAudits { pages_audited: 3, avg_score, ..PageAudits::default() };
            assert_eq!(site_summary(&audits).map(|summary| summary.avg_score), Some(expected));
        }
    }

    #[test]
    fn equal_scores_are_told_apart_by_domain() {
        let rows = [
            competitor("d", json!(80)),
            competitor("b", json!("80")),
            competitor("e", json!(20)),
            competitor("c", json!(20.0)),
            competitor("a", json!(null)),
        ];
        let benchmarks = benchmarks(&rows).unwrap();
        assert_eq!(benchmarks.competitors_with_seo_audit, 4);
        assert!((benchmarks.avg_homepage_seo_score - 50.0).abs() < f64::EPSILON);
        assert_eq!(benchmarks.best_competitor.unwrap().competitor_domain, "b");
        assert_eq!(benchmarks.worst_competitor.unwrap().competitor_domain, "c");
    }

    #[test]
    fn a_mean_that_is_not_finite_is_absent() {
        assert_eq!(benchmarks(&[competitor("a", json!(1.7e308)), competitor("b", json!(1.7e308))]), None);
    }
}
