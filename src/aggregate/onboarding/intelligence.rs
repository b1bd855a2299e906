//! `competitive_intelligence`: the deep analysis task with its last runs, the sitemap benchmark and
//! the stored reports.

use serde_json::Value as Json;

use super::load::{DeepTask, Website};
use crate::{
    aggregate::{
        sql::Warnings,
        value::{member, number, path, text},
    },
    proto::{
        Value,
        v1::{CompetitiveIntelligence, DeepCompetitorAnalysis, SitemapBenchmarking},
    },
};

/// Reports of the history at most, and bytes of them together: each may be a page long, and readers
/// look at the newest.
const HISTORY_REPORTS_MAX: usize = 12;
const HISTORY_BYTES_MAX: usize = 32 * 1024;

/// The message; absent if none of its parts is there.
pub(super) fn competitive(
    task: Option<&DeepTask>,
    web: &Website,
    warnings: &mut Warnings,
) -> Option<CompetitiveIntelligence> {
    let intelligence = CompetitiveIntelligence {
        deep_competitor_analysis: task.map(deep_analysis),
        competitive_sitemap_benchmarking: sitemap_benchmarking(&web.shared.seo_audit, warnings),
        strategic_insights_history: history(&web.strategic_insights_history),
    };
    (intelligence != CompetitiveIntelligence::default()).then_some(intelligence)
}

fn deep_analysis(task: &DeepTask) -> DeepCompetitorAnalysis {
    DeepCompetitorAnalysis {
        status: task.status.clone().unwrap_or_default(),
        next_execution: task.next_execution.map(Into::into),
        last_run: task.last_run.map(Into::into),
        last_status: task.last_status.clone(),
        competitors_count: length(member(&task.payload, "competitors")),
        report: (!task.report.is_null()).then(|| Value::from(task.report.clone())),
    }
}

fn sitemap_benchmarking(seo_audit: &Json, warnings: &mut Warnings) -> Option<SitemapBenchmarking> {
    let benchmarking = member(seo_audit, "competitive_sitemap_benchmarking");
    benchmarking.is_object().then(|| SitemapBenchmarking {
        status: "available".to_owned(),
        last_run: text(member(benchmarking, "timestamp")),
        competitors_analyzed: count(path(benchmarking, "benchmark.competitors_analyzed"), warnings),
        missing_sections_count: length(path(benchmarking, "benchmark.gaps.missing_sections")),
    })
}

/// A whole number inside `seo_audit`; absent, with a warning, if the field cannot hold it.
fn count(value: &Json, warnings: &mut Warnings) -> Option<i32> {
    let number = number(value).filter(|number| number.fract() == 0.0)?;
    if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        warnings.add("OUT_OF_RANGE", "website_analyses.seo_audit");
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked: whole and in range")]
    Some(number as i32)
}

/// How long an array is; absent for anything else.
fn length(value: &Json) -> Option<i32> {
    value.as_array().and_then(|items| i32::try_from(items.len()).ok())
}

/// The newest reports, as many as fit as one JSON array.
fn history(column: &Json) -> Vec<Value> {
    let mut bytes = "[]".len();
    let fits = |report: &&Json| {
        bytes += report.to_string().len() + ",".len();
        // The last report has no comma after it.
        bytes - ",".len() <= HISTORY_BYTES_MAX
    };
    let reports = column.as_array().into_iter().flatten();
    reports.take(HISTORY_REPORTS_MAX).take_while(fits).cloned().map(Value::from).collect()
}
