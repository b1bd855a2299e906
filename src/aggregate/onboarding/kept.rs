//! The onboarding rows that gap and AI analysis are made from too, in the form in which each tier stores them beside
//! the section. A change of the strategy then reads none of them again, on any instance.
//!
//! Decision: compressed JSON of the rows that the section's message does not contain, mainly competitors' texts.
//! Keeping parsed rows in memory only was rejected: with several instances, the next load is seldom on the same one.
//! Invariant: rows and message were read in one transaction, and share its read position.

use bytes::Bytes;
use prost::Message as _;

use crate::{aggregate::rows::Onboarding, proto::v1::ComprehensiveUserData};

/// The version of this form: raise it when [`Onboarding`] or the statements that fill it change.
const VERSION: u8 = 1;
/// Limit of the JSON, far above the usual 8 KB. Rows beyond it are read again at each change.
const JSON_BYTES_MAX: usize = 256 * 1024;
/// Limit of the stored form, by which a document grows in each tier.
const KEPT_BYTES_MAX: usize = 32 * 1024;
/// zstd's default: texts shrink to about a quarter in about 0.1 ms.
const COMPRESSION_LEVEL: i32 = 3;

/// The stored form; empty if it would be too large.
#[must_use]
pub fn keep(onboarding: &Onboarding) -> Bytes {
    let json = serde_json::to_vec(onboarding).ok().filter(|json| json.len() <= JSON_BYTES_MAX);
    let frame = json.and_then(|json| zstd::bulk::compress(&json, COMPRESSION_LEVEL).ok());
    let frame = frame.filter(|frame| frame.len() < KEPT_BYTES_MAX);
    frame.map(|frame| [&[VERSION], &frame[..]].concat().into()).unwrap_or_default()
}

/// The rows, from the stored form and the section's bytes. None if nothing was stored, or by another version.
#[must_use]
pub fn restore(kept: &[u8], section: &Bytes) -> Option<Onboarding> {
    let (_, frame) = kept.split_first().filter(|(version, _)| **version == VERSION)?;
    let json = zstd::bulk::decompress(frame, JSON_BYTES_MAX).ok()?;
    let data = ComprehensiveUserData::decode(section.clone()).ok()?.onboarding_data?;
    Some(Onboarding { data, ..serde_json::from_slice(&json).ok()? })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        aggregate::{
            onboarding::document,
            rows::{CompetitorRow, GapRow, WebsiteRow},
        },
        proto::v1::OnboardingData,
        testing::withstands_mutated,
    };

    fn rows(analysis_data: Json) -> Onboarding {
        let at = DateTime::<Utc>::from_timestamp_micros(1_700_000_000_123_456);
        Onboarding {
            session: true,
            found: true,
            website: WebsiteRow { seo_audit: json!({"overall_score": 71.5}), ..WebsiteRow::default() },
            competitors: vec![CompetitorRow {
                domain: "rival.example".to_owned(),
                analysis_date: at,
                analysis_data,
                ..CompetitorRow::default()
            }],
            gap: GapRow { target_keywords: json!(["a", {"b": null}]), ..GapRow::default() },
            data: OnboardingData { industry: Some("Retail".to_owned()), ..OnboardingData::default() },
        }
    }

    fn section(of: &Onboarding) -> Bytes {
        document(&of.data).encode_to_vec().into()
    }

    #[test]
    fn what_is_restored_is_what_was_read() {
        let numbers = json!([0.1, -0.0, 1e300, 5e-324, u64::MAX, i64::MIN, 123_456.789, 1.0]);
        for read in [rows(numbers), rows(json!({"title": "\u{0}😀\"\\"})), Onboarding::default()] {
            assert_eq!(restore(&keep(&read), &section(&read)), Some(read));
        }
    }

    #[test]
    fn rows_that_are_too_large_are_not_kept() {
        assert!(keep(&rows("x".repeat(JSON_BYTES_MAX).into())).is_empty());
        // Within the limit of the JSON, but hardly compressible.
        let mut state = 1_u64;
        let mut draw = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from_u32(0x4e00 + u32::try_from(state >> 50).unwrap()).unwrap()
        };
        let text: String = (0..JSON_BYTES_MAX / 6).map(&mut draw).collect();
        assert!(keep(&rows(text.into())).is_empty());
    }

    #[test]
    fn what_another_version_kept_is_not_read() {
        let read = rows(Json::Null);
        let mut kept = keep(&read).to_vec();
        kept[0] += 1;
        assert_eq!(restore(&kept, &section(&read)), None);
        assert_eq!(restore(&[], &section(&read)), None);
        assert_eq!(restore(&[VERSION, 7, 7], &section(&read)), None);
    }

    #[test]
    fn whatever_was_kept_is_restored_or_read_anew() {
        let read = rows(json!([{"title": "pricing"}, {"title": "guides", "score": 0.5}]));
        let section = section(&read);
        let json = serde_json::to_vec(&read).unwrap();
        let (mut restored, mut refused) = (0, 0);
        let mut count = |is: bool| if is { restored += 1 } else { refused += 1 };
        let bound = |length| JSON_BYTES_MAX as u64 + 256 * length + 256 * 1024;
        // The stored form, and the JSON in it.
        withstands_mutated(&[keep(&read).to_vec()], bound, |kept| count(restore(&kept, &section).is_some()));
        withstands_mutated(&[json], bound, |json| {
            let frame = zstd::bulk::compress(&json, COMPRESSION_LEVEL).unwrap();
            count(restore(&[&[VERSION], &frame[..]].concat(), &section).is_some());
        });
        // And the section itself, which comes from a tier and is not trusted.
        withstands_mutated(&[section.to_vec()], bound, |bytes| count(restore(&keep(&read), &bytes.into()).is_some()));
        assert!(restored > 100 && refused > 100, "{restored} restored, {refused} not");
    }
}
