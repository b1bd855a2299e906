//! Quantities, each with its bounds: durations (`5s`), sizes (`4MiB`), counts and shares.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value as Json, json};

use super::Form;

/// Bytes in a KiB.
pub(in crate::config) const KIB: u64 = 1024;
/// Bytes in a MiB.
pub(in crate::config) const MIB: u64 = 1024 * KIB;

/// Milliseconds and the unit's name, longest first.
const TIME_UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
/// Bytes and the unit's name, largest first; a number without a unit is bytes.
const SIZE_UNITS: [(u64, &str); 4] = [(1024 * MIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "")];

pub(in crate::config) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
pub(in crate::config) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
pub(in crate::config) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
pub(in crate::config) const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}
pub(in crate::config) const fn days(count: u64) -> Duration {
    hours(24 * count)
}

/// A whole number with a unit, times what the unit stands for.
fn read(text: &str, units: &[(u64, &str)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (factor, _) = units.iter().find(|(_, name)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that says it exactly.
fn write(amount: u64, units: &[(u64, &str)]) -> String {
    let exact = units.iter().find(|(factor, _)| amount != 0 && amount.is_multiple_of(*factor));
    // The smallest unit is 1 and divides everything; only 0 gets here, and it is the same in every unit.
    exact.map_or_else(
        || "0".to_owned() + units[units.len() - 1].1,
        |(factor, unit)| format!("{}{unit}", amount / factor),
    )
}

/// A duration such as `5s`, `100ms` or `1h`.
#[must_use]
pub fn read_duration(text: &str) -> Option<Duration> {
    read(text, &TIME_UNITS).map(Duration::from_millis)
}

fn write_duration(duration: Duration) -> String {
    // 584 million years of milliseconds fit.
    write(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
}

/// A duration within bounds, to the millisecond.
pub(in crate::config) struct Durations(pub(in crate::config) RangeInclusive<Duration>);

impl Form<Duration> for Durations {
    fn parse(&self, text: &str) -> Option<Duration> {
        read_duration(text).filter(|duration| self.0.contains(duration))
    }
    fn show(&self, value: &Duration) -> String {
        write_duration(*value)
    }
    fn expected(&self) -> String {
        let (from, to) = (write_duration(*self.0.start()), write_duration(*self.0.end()));
        format!("a duration such as 5s, 100ms or 1h, from {from} to {to}")
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// A size in bytes within bounds.
pub(in crate::config) struct Bytes(pub(in crate::config) RangeInclusive<u64>);

impl<T: Copy + TryFrom<u64> + TryInto<u64>> Form<T> for Bytes {
    fn parse(&self, text: &str) -> Option<T> {
        let bytes = read(text, &SIZE_UNITS).filter(|bytes| self.0.contains(bytes))?;
        bytes.try_into().ok()
    }
    fn show(&self, value: &T) -> String {
        write((*value).try_into().unwrap_or(u64::MAX), &SIZE_UNITS)
    }
    fn expected(&self) -> String {
        let (from, to) = (write(*self.0.start(), &SIZE_UNITS), write(*self.0.end(), &SIZE_UNITS));
        format!("a size such as 512, 64KiB or 4MiB, from {from} to {to}")
    }
    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer"], "pattern": "^[0-9]+([KMG]iB)?$",
            "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

/// How many, within bounds.
pub(in crate::config) struct Count(pub(in crate::config) RangeInclusive<u64>);

impl<T: Copy + TryFrom<u64> + TryInto<u64>> Form<T> for Count {
    fn parse(&self, text: &str) -> Option<T> {
        let count = read(text, &[(1, "")]).filter(|count| self.0.contains(count))?;
        count.try_into().ok()
    }
    fn show(&self, value: &T) -> String {
        (*value).try_into().unwrap_or(u64::MAX).to_string()
    }
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }
    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

/// A number within bounds.
pub(in crate::config) struct Number(pub(in crate::config) RangeInclusive<f64>);

impl Form<f64> for Number {
    fn parse(&self, text: &str) -> Option<f64> {
        // NaN is in no range.
        text.parse().ok().filter(|number| self.0.contains(number))
    }
    fn show(&self, value: &f64) -> String {
        value.to_string()
    }
    fn expected(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }
    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_with_units_and_read_back() {
        for (text, millis) in [("100ms", 100), ("5s", 5000), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(read_duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(write_duration(Duration::from_millis(millis)), text);
        }
        for (text, bytes) in [("0", 0), ("512", 512), ("64KiB", 65_536), ("4MiB", 4_194_304), ("2GiB", 2_147_483_648)] {
            assert_eq!(read(text, &SIZE_UNITS), Some(bytes), "{text}");
            assert_eq!(write(bytes, &SIZE_UNITS), text);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in
            ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "5s5s", "+5s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(read_duration(text), None, "{text}");
        }
        for text in ["", "KiB", "4MB", "4 MiB", "-1", "1e3", "18446744073709551615KiB"] {
            assert_eq!(read(text, &SIZE_UNITS), None, "{text}");
        }
    }

    #[test]
    fn bounds_belong_to_what_is_allowed() {
        let form = Durations(seconds(1)..=hours(1));
        for (text, allowed) in [("999ms", false), ("1s", true), ("1h", true), ("3601s", false)] {
            assert_eq!(form.parse(text).is_some(), allowed, "{text}");
        }
        let count = Count(1..=70_000);
        assert_eq!(Form::<u32>::parse(&count, "70000"), Some(70_000));
        assert_eq!(Form::<u32>::parse(&count, "70001"), None);
        assert_eq!(Form::<u32>::parse(&count, "0"), None);
        assert_eq!(Number(0.0..=0.5).parse("NaN"), None);
    }
}
