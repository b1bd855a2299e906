//! Counts and sums from the database, and the means and totals made from them.

use super::super::value::round;

/// The first reach that an int64 cannot hold; it is exactly a double.
const REACH_BELOW: f64 = 9_223_372_036_854_775_808.0;

/// A number of values and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) count: i64,
    pub(super) total: f64,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.total += other.total;
    }

    /// Absent without values.
    pub(super) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.total / self.count as f64).filter(|mean| mean.is_finite())
    }

    /// The mean as the document has it.
    pub(super) fn rounded_mean(self) -> Option<f64> {
        self.mean().map(|mean| round(mean, 6))
    }
}

/// The sums over some records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) records: i64,
    pub(super) score: Sum,
    pub(super) engagement: Sum,
    pub(super) conversion: Sum,
    pub(super) click_through: Sum,
    pub(super) reach: Sum,
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.score.add(other.score);
        self.engagement.add(other.engagement);
        self.conversion.add(other.conversion);
        self.click_through.add(other.click_through);
        self.reach.add(other.reach);
    }
}

/// One row of the analytics statement: one platform in one half of a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlatformSums {
    pub(super) days: i64,
    pub(super) platform: String,
    pub(super) recent: bool,
    pub(super) sums: Sums,
}

/// The total reach as the document has it; absent if an int64 cannot hold it.
pub(super) fn total(reach: Sum) -> Option<i64> {
    let rounded = round(reach.total, 0);
    (reach.count > 0 && rounded.abs() < REACH_BELOW).then_some(rounded as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_absent_rather_than_infinite() {
        for (reach, expected) in [
            (Sum { count: 2, total: 1200.5 }, Some(1200)),
            (Sum { count: 1, total: 0.0 }, Some(0)),
            (Sum { count: 0, total: 0.0 }, None),
            (Sum { count: 1, total: 1e19 }, None),
        ] {
            assert_eq!(total(reach), expected);
        }
        assert_eq!(Sum { count: 3, total: 2.0 }.rounded_mean(), Some(0.666667));
        assert_eq!(Sum { count: 1, total: f64::INFINITY }.mean(), None);
    }
}
