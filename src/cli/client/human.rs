//! Values of a reply in human-readable form.

use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::HumanBytes;

use crate::proto::{Duration, Timestamp};

const NOTHING: &str = "-";

/// `45.2ms`, `3.1s`, `2m 5s`, `1h 2m`.
pub(super) fn duration(duration: Option<&Duration>) -> String {
    let Some(duration) = duration.and_then(|d| std::time::Duration::try_from(d).ok()) else {
        return NOTHING.to_owned();
    };
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.is_zero() => "0s".to_owned(),
        0..60 => format!("{duration:.1?}"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `1 commit`, `2 commits`.
pub(super) fn count(number: i64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// The time before `now`. Both are by the server's clock, so that the local one does not matter.
pub(super) fn ago(time: Option<&Timestamp>, now: Option<&Timestamp>) -> String {
    let passed = instant(time).zip(instant(now)).and_then(|(time, now)| (now - time).to_std().ok());
    passed.map_or_else(|| NOTHING.to_owned(), |passed| format!("{} ago", duration(Some(&passed.into()))))
}

/// `2026-01-31T12:00:00Z`.
pub(super) fn time(time: Option<&Timestamp>) -> String {
    instant(time).map_or_else(|| NOTHING.to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn instant(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    time.and_then(|time| time.try_into().ok())
}

/// `97.5 %`.
pub(super) fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `4.00 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A value that may be absent.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// A text that may be empty.
pub(super) fn text(text: &str) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() }
}

/// `HIT_MEMORY` of `CACHE_STATUS_HIT_MEMORY`.
pub(super) fn name(full: &str, prefix: &str) -> String {
    match full.strip_prefix(prefix).unwrap_or(full) {
        "UNSPECIFIED" => NOTHING.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units_at_most() {
        let cases = [
            (0, 0, "0s"),
            (0, 45_200_000, "45.2ms"),
            (3, 140_000_000, "3.1s"),
            (125, 0, "2m 5s"),
            (3_720, 0, "1h 2m"),
            (180_000, 0, "2d 2h"),
        ];
        for (seconds, nanos, shown) in cases {
            assert_eq!(duration(Some(&Duration { seconds, nanos })), shown);
        }
        assert_eq!(duration(None), "-");
        assert_eq!(duration(Some(&Duration { seconds: -1, nanos: 0 })), "-");
    }

    #[test]
    fn ages_need_both_times_in_their_order() {
        let (earlier, later) = (Timestamp { seconds: 100, nanos: 0 }, Timestamp { seconds: 112, nanos: 0 });
        assert_eq!(ago(Some(&earlier), Some(&later)), "12.0s ago");
        assert_eq!(ago(Some(&later), Some(&earlier)), "-");
        assert_eq!(ago(None, Some(&later)), "-");
    }
}
