//! The rows of the onboarding source that gap and AI analysis are made from too, in a form that lies beside the
//! section wherever the document does. So an edit of the strategy reads none of them again, on whichever instance the
//! user is asked for next.
//!
//! Decision: compressed JSON of what the section's message does not say (competitors' texts most of all). Keeping the
//! parsed rows in memory only was rejected: of several instances, the one that loads next is seldom the one that did.
//! Invariant: rows and message are of one reading, and share its tag.

use bytes::Bytes;
use prost::Message as _;

use crate::{aggregate::rows::Onboarding, proto::v1::ComprehensiveUserData};

/// Of this form: raise it when [`Onboarding`] changes, or what is read into it.
const VERSION: u8 = 1;
/// Bytes of JSON at most, far above the usual 8 KB. Who has more costs a reading at each change.
const JSON_BYTES_MAX: usize = 256 * 1024;
/// Bytes kept at most: what a document grows by in every tier.
const KEPT_BYTES_MAX: usize = 32 * 1024;
/// zstd's default: texts shrink to about a quarter in some 0.1 ms.
const COMPRESSION_LEVEL: i32 = 3;

/// What is kept of them beside the section; nothing if that is too large.
#[must_use]
pub fn keep(onboarding: &Onboarding) -> Bytes {
    let json = serde_json::to_vec(onboarding).ok().filter(|json| json.len() <= JSON_BYTES_MAX);
    let frame = json.and_then(|json| zstd::bulk::compress(&json, COMPRESSION_LEVEL).ok());
    let frame = frame.filter(|frame| frame.len() < KEPT_BYTES_MAX);
    frame.map(|frame| [&[VERSION], &frame[..]].concat().into()).unwrap_or_default()
}

/// The rows again, from what was kept and the section's bytes. None: nothing was kept, or by another version.
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
        // As long as it may be, but it hardly shrinks.
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
        // As it lies beside the section, and what is in it.
        withstands_mutated(&[keep(&read).to_vec()], bound, |kept| count(restore(&kept, &section).is_some()));
        withstands_mutated(&[json], bound, |json| {
            let frame = zstd::bulk::compress(&json, COMPRESSION_LEVEL).unwrap();
            count(restore(&[&[VERSION], &frame[..]].concat(), &section).is_some());
        });
        // And the section itself, which is somebody else's bytes too once it comes from a tier.
        withstands_mutated(&[section.to_vec()], bound, |bytes| count(restore(&keep(&read), &bytes.into()).is_some()));
        assert!(restored > 100 && refused > 100, "{restored} restored, {refused} not");
    }
}
