//! Compares the recent half of a window with the older one.
//!
//! A window is halved by time, and the mean of each half divides by its own count. So an odd number of values needs no
//! special case, and no value is compared with itself.

use super::{super::value::round, sums::Sum};
use crate::proto::v1::{Trend, TrendDirection};

/// A change of at most this many percent, up or down, counts as stable.
const STABLE_PERCENT: f64 = 5.0;

/// The change is computed from the exact means; the message has rounded ones.
pub(super) fn trend(recent: Sum, older: Sum) -> Trend {
    let (direction, change_percent) = match (recent.mean(), older.mean()) {
        (Some(recent), Some(older)) => compare(recent, older),
        _ => (TrendDirection::InsufficientData, None),
    };
    Trend {
        direction: direction.into(),
        change_percent,
        recent_mean: recent.rounded_mean(),
        older_mean: older.rounded_mean(),
        recent_count: i32::try_from(recent.count).unwrap_or(i32::MAX),
        older_count: i32::try_from(older.count).unwrap_or(i32::MAX),
    }
}

fn compare(recent: f64, older: f64) -> (TrendDirection, Option<f64>) {
    if older == 0.0 {
        // A percentage of zero has no meaning: only the direction is known.
        return match recent {
            r if r > 0.0 => (TrendDirection::Increasing, None),
            r if r < 0.0 => (TrendDirection::Decreasing, None),
            _ => (TrendDirection::Stable, Some(0.0)),
        };
    }
    let change = round(100.0 * (recent - older) / older.abs(), 2);
    let direction = match change {
        c if c > STABLE_PERCENT => TrendDirection::Increasing,
        c if c < -STABLE_PERCENT => TrendDirection::Decreasing,
        _ => TrendDirection::Stable,
    };
    (direction, Some(change).filter(|change| change.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> Sum {
        Sum { count: values.len() as i64, total: values.iter().sum() }
    }

    #[test]
    fn each_half_divides_by_its_own_count() {
        use TrendDirection::{Decreasing, Increasing, InsufficientData, Stable};
        type Case<'a> = (&'a [f64], &'a [f64], TrendDirection, Option<f64>);
        let cases: [Case<'_>; 12] = [
            // The checks of data.md section 8, both with an odd number of values.
            (&[0.5, 0.5], &[0.6, 0.6, 0.9], Increasing, Some(40.0)),
            (&[0.8], &[0.4, 0.6], Decreasing, Some(-37.5)),
            (&[0.5], &[0.5], Stable, Some(0.0)),
            (&[100.0], &[105.0], Stable, Some(5.0)),
            (&[100.0], &[105.01], Increasing, Some(5.01)),
            (&[100.0], &[94.99], Decreasing, Some(-5.01)),
            (&[-1.0], &[1.0], Increasing, Some(200.0)),
            (&[0.0], &[0.3], Increasing, None),
            (&[0.0], &[0.0, 0.0], Stable, Some(0.0)),
            (&[0.0], &[-0.3], Decreasing, None),
            (&[], &[0.5], InsufficientData, None),
            (&[0.5], &[], InsufficientData, None),
        ];
        for (older, recent, direction, change) in cases {
            let trend = trend(sum(recent), sum(older));
            assert_eq!((trend.direction(), trend.change_percent), (direction, change), "{older:?} -> {recent:?}");
            assert_eq!((trend.older_count, trend.recent_count), (older.len() as i32, recent.len() as i32));
        }
    }

    #[test]
    fn means_are_shown_rounded() {
        let trend = trend(sum(&[0.6, 0.6, 0.9]), sum(&[1.0, 0.0, 0.0]));
        assert_eq!((trend.recent_mean, trend.older_mean), (Some(0.7), Some(0.333333)));
        assert_eq!(super::trend(sum(&[]), sum(&[0.1])).recent_mean, None);
    }

    #[test]
    fn a_change_that_is_not_finite_keeps_its_direction() {
        let trend = trend(sum(&[1e6]), sum(&[5e-324]));
        assert_eq!((trend.direction(), trend.change_percent), (TrendDirection::Increasing, None));
    }
}
