//! The windows of the last 7, 30 and 90 days, overall and by platform.
//!
//! A window excludes its start and includes its end; its older half includes its middle.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    sums::{PlatformSums, Sums, total},
    trend::trend,
};
use crate::proto::v1::{PerformanceAggregate, PerformanceWindow};

pub(super) const DAYS: [i64; 3] = [7, 30, 90];
/// Platforms listed in a window; the overall values include all.
const PLATFORMS_MAX: usize = 20;
/// The start of a window of this many days.
pub(super) fn start(as_of: DateTime<Utc>, days: i64) -> DateTime<Utc> {
    as_of - TimeDelta::days(days)
}

/// The start of its recent half.
pub(super) fn middle(as_of: DateTime<Utc>, days: i64) -> DateTime<Utc> {
    as_of - TimeDelta::hours(12 * days)
}

#[derive(Clone, Copy, Debug, Default)]
struct Halves {
    older: Sums,
    recent: Sums,
}

impl Halves {
    fn add(&mut self, other: Self) {
        self.older.add(other.older);
        self.recent.add(other.recent);
    }

    fn whole(self) -> Sums {
        let mut whole = self.older;
        whole.add(self.recent);
        whole
    }
}

/// All windows; one without sums has 0 records.
pub(super) fn windows(as_of: DateTime<Utc>, sums: &[PlatformSums]) -> Vec<PerformanceWindow> {
    DAYS.into_iter().map(|days| window(as_of, days, sums)).collect()
}

fn window(as_of: DateTime<Utc>, days: i64, sums: &[PlatformSums]) -> PerformanceWindow {
    let mut platforms: BTreeMap<String, Halves> = BTreeMap::new();
    for row in sums.iter().filter(|row| row.days == days) {
        // Lower case again, because SQLite's LOWER changes ASCII letters only.
        let halves = platforms.entry(row.platform.to_lowercase()).or_default();
        let half = if row.recent { &mut halves.recent } else { &mut halves.older };
        half.add(row.sums);
    }
    // Added in the order of names, so that the order of rows does not show in the last digit.
    let mut overall = Halves::default();
    platforms.values().for_each(|halves| overall.add(*halves));

    let mut platforms: Vec<PerformanceAggregate> =
        platforms.into_iter().map(|(platform, halves)| aggregate(Some(platform), halves)).collect();
    // Stable: platforms with equally many records stay in the order of their names.
    platforms.sort_by_key(|platform| std::cmp::Reverse(platform.records));
    platforms.truncate(PLATFORMS_MAX);
    PerformanceWindow {
        days: days as i32,
        since: Some(start(as_of, days).into()),
        until: Some(as_of.into()),
        overall: Some(aggregate(None, overall)),
        platforms,
    }
}

fn aggregate(platform: Option<String>, halves: Halves) -> PerformanceAggregate {
    let whole = halves.whole();
    PerformanceAggregate {
        platform,
        records: i32::try_from(whole.records).unwrap_or(i32::MAX),
        avg_performance_score: whole.score.rounded_mean(),
        avg_engagement_rate: whole.engagement.rounded_mean(),
        avg_conversion_rate: whole.conversion.rounded_mean(),
        avg_click_through_rate: whole.click_through.rounded_mean(),
        total_reach: total(whole.reach),
        performance_trend: Some(trend(halves.recent.score, halves.older.score)),
        engagement_trend: Some(trend(halves.recent.engagement, halves.older.engagement)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::performance::sums::Sum, proto::v1::TrendDirection};

    fn as_of() -> DateTime<Utc> {
        "2025-09-01T12:00:00Z".parse().unwrap()
    }

    fn scores(days: i64, platform: &str, recent: bool, scores: &[f64]) -> PlatformSums {
        let score = Sum { count: scores.len() as i64, total: scores.iter().sum() };
        let sums = Sums { records: scores.len() as i64, score, ..Sums::default() };
        PlatformSums { days, platform: platform.into(), recent, sums }
    }

    #[test]
    fn windows_without_rows_have_their_bounds_and_nothing_else() {
        let windows = windows(as_of(), &[]);
        let since: Vec<_> = windows.iter().map(|window| (window.days, window.since)).collect();
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap().into());
        assert_eq!(
            since,
            [(7, at("2025-08-25T12:00:00Z")), (30, at("2025-08-02T12:00:00Z")), (90, at("2025-06-03T12:00:00Z"))]
        );
        for window in windows {
            assert_eq!(window.until, Some(as_of().into()));
            assert!(window.platforms.is_empty());
            let overall = window.overall.unwrap();
            assert_eq!((overall.records, overall.avg_performance_score, overall.total_reach), (0, None, None));
            assert_eq!(overall.performance_trend.unwrap().direction(), TrendDirection::InsufficientData);
        }
    }

    #[test]
    fn the_middle_of_seven_days_is_84_hours_ago() {
        assert_eq!(middle(as_of(), 7), "2025-08-29T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn platforms_come_by_records_then_name_and_make_up_the_overall_figures() {
        let windows = windows(
            as_of(),
            &[
                scores(30, "x", true, &[0.9]),
                scores(30, "blog", true, &[0.5, 0.7]),
                scores(30, "blog", false, &[0.3]),
                scores(30, "ads", false, &[0.1]),
                scores(90, "old", false, &[1.0]),
            ],
        );
        let window = &windows[1];
        let names: Vec<_> = window.platforms.iter().map(|p| (p.platform.as_deref().unwrap(), p.records)).collect();
        assert_eq!(names, [("blog", 3), ("ads", 1), ("x", 1)]);
        assert_eq!(window.platforms[0].avg_performance_score, Some(0.5));
        let overall = window.overall.as_ref().unwrap();
        assert_eq!((overall.records, overall.platform.as_ref()), (5, None));
        assert_eq!(overall.avg_performance_score, Some(0.5));
        assert_eq!(windows[0].overall.as_ref().unwrap().records, 0);
    }

    #[test]
    fn platforms_that_differ_in_case_are_one() {
        let windows = windows(as_of(), &[scores(7, "Ärzte", true, &[0.2]), scores(7, "ärzte", true, &[0.4])]);
        assert_eq!(windows[0].platforms.len(), 1);
        assert_eq!(windows[0].platforms[0].records, 2);
    }

    #[test]
    fn twenty_platforms_are_listed_and_all_are_counted() {
        let sums: Vec<_> = (0..25).map(|n| scores(90, &format!("p{n:02}"), true, &[0.5])).collect();
        let windows = windows(as_of(), &sums);
        assert_eq!(windows[2].platforms.len(), 20);
        assert_eq!(windows[2].platforms[19].platform.as_deref(), Some("p19"));
        assert_eq!(windows[2].overall.as_ref().unwrap().records, 25);
    }
}
