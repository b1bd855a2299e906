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

/// Limits of the history: a report may be a page long, and readers look at the newest.
const HISTORY_REPORTS_MAX: usize = 12;
const HISTORY_BYTES_MAX: usize = 32 * 1024;

/// Absent if all of its parts are absent.
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

/// The length of an array; absent for any other value.
fn length(value: &Json) -> Option<i32> {
    value.as_array().and_then(|items| i32::try_from(items.len()).ok())
}

/// The newest reports, as many as fit into one JSON array.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_known_is_no_message() {
        let web = Website { strategic_insights_history: json!({"week": 1}), ..Website::default() };
        assert_eq!(competitive(None, &web, &mut Warnings::default()), None);
    }

    #[test]
    fn a_task_counts_its_competitors_if_they_are_a_list() {
        for (payload, expected) in
            [(json!({"competitors": ["a", {}]}), Some(2)), (json!({"competitors": 4}), None), (json!("x"), None)]
        {
            let task = DeepTask { payload: payload.clone(), ..DeepTask::default() };
            assert_eq!(deep_analysis(&task).competitors_count, expected, "{payload}");
        }
    }

    #[test]
    fn a_sitemap_benchmark_counts_what_is_stored() {
        for (benchmarking, expected, warnings) in [
            (
                json!({"timestamp": "2025-08-01T00:00", "benchmark": {"competitors_analyzed": 4, "gaps": {"missing_sections": []}}}),
                Some((Some("2025-08-01T00:00"), Some(4), Some(0))),
                0,
            ),
            (json!({"benchmark": {"competitors_analyzed": 2.5, "gaps": "none"}}), Some((None, None, None)), 0),
            (json!({"benchmark": {"competitors_analyzed": 3e9}}), Some((None, None, None)), 1),
            (json!("done"), None, 0),
            (json!(null), None, 0),
        ] {
            let mut noted = Warnings::default();
            let found = sitemap_benchmarking(&json!({"competitive_sitemap_benchmarking": benchmarking}), &mut noted);
            let found = found.as_ref().map(|found| {
                assert_eq!(found.status, "available");
                (found.last_run.as_deref(), found.competitors_analyzed, found.missing_sections_count)
            });
            assert_eq!(found, expected, "{benchmarking}");
            assert_eq!(noted.into_vec().len(), warnings, "{benchmarking}");
        }
    }

    #[test]
    fn the_history_keeps_the_newest_reports_that_fit() {
        // As JSON: two quotes and, between reports, a comma; around all, two brackets.
        let report = |bytes: usize| json!("r".repeat(bytes - 2));
        for (reports, kept) in [
            (vec![report(100); 52], 12),
            (vec![report(HISTORY_BYTES_MAX - 2)], 1),
            (vec![report(HISTORY_BYTES_MAX - 1)], 0),
            (vec![report(10_000), report(HISTORY_BYTES_MAX - 10_003)], 2),
            (vec![report(10_000), report(HISTORY_BYTES_MAX - 10_002), report(5)], 1),
        ] {
            assert_eq!(history(&Json::Array(reports)).len(), kept);
        }
    }
}
