//! A document as the tiers store it: encoded once, with an index of its sections: where each one is, how it was read,
//! and its read position in the invalidation log.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use super::{CacheKey, Generator, Section, SectionSet, State, section::DOCUMENT_ORDER};

/// How one section was read; the content of its report.
#[derive(Clone, Debug, PartialEq)]
pub struct SectionFacts {
    pub section: Section,
    pub state: State,
    pub generator: Generator,
    /// When reading its sources started.
    pub read_at: DateTime<Utc>,
    pub took: Duration,
    /// Why the state is not OK, in `UPPER_SNAKE_CASE`. Empty: no reason.
    pub reason: String,
    /// What was left out of the section.
    pub warnings: Vec<String>,
    /// More about the generator.
    pub detail: String,
}

/// One section of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedSection {
    pub facts: SectionFacts,
    /// The position of the invalidation log that was known before its sources were read. An invalidation above it outdates it.
    pub read_position: i64,
    /// Its bytes in the payload.
    pub range: Range<usize>,
    /// What other sections are made from too and its bytes do not tell, in its source's own form; empty: not kept.
    /// Of the very reading that its bytes are of, so that the read position says of both whether they are outdated.
    pub rows: Bytes,
}

/// A sealed document. Clones share it.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<SharedSnapshot>);

#[derive(Debug)]
struct SharedSnapshot {
    sealed: Sealed,
    encoded: OnceLock<EncodedParts>,
}

/// The parts of a response beside the document that are the same each time. The first response encodes them.
#[derive(Debug)]
pub struct EncodedParts {
    /// Fields of `CacheInfo`, encoded.
    pub info: Vec<u8>,
    /// The reports of all sections, encoded.
    pub reports: Vec<u8>,
}

/// The content of a snapshot.
#[derive(Debug, PartialEq)]
pub struct Sealed {
    pub key: CacheKey,
    /// The epoch of the read positions.
    pub epoch: Arc<str>,
    /// The encoded `ComprehensiveUserData`.
    pub payload: Bytes,
    /// One per section, in document order: ranges ascend.
    pub sections: Vec<SealedSection>,
    /// The time that the assembly computed ages from.
    pub as_of: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A section before sealing.
#[derive(Clone, Debug)]
pub struct Part {
    pub facts: SectionFacts,
    /// The position of the invalidation log that was known before its sources were read.
    pub read_position: i64,
    /// A `ComprehensiveUserData` that has only this section's fields, encoded.
    pub bytes: Bytes,
    /// As [`SealedSection::rows`].
    pub rows: Bytes,
}

impl Snapshot {
    /// Joins the parts: every section once, in any order.
    #[must_use]
    pub fn seal(
        key: CacheKey,
        epoch: Arc<str>,
        as_of: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        mut parts: Vec<Part>,
    ) -> Self {
        let place = |section: Section| DOCUMENT_ORDER.iter().position(|other| *other == section);
        parts.sort_by_key(|part| place(part.facts.section));
        let mut payload = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
        let mut sections = Vec::with_capacity(parts.len());
        for Part { facts, read_position, bytes, rows } in parts {
            let start = payload.len();
            payload.extend_from_slice(&bytes);
            sections.push(SealedSection { facts, read_position, range: start..payload.len(), rows });
        }
        Sealed { key, epoch, payload: payload.freeze(), sections, as_of, expires_at }.into()
    }

    /// The bytes of the selected sections. All sections need no copy.
    #[must_use]
    pub fn select(&self, sections: SectionSet) -> Bytes {
        if self.sections.iter().all(|s| sections.contains(s.facts.section)) {
            return self.payload.clone();
        }
        let mut bytes = BytesMut::new();
        for section in self.sections.iter().filter(|s| sections.contains(s.facts.section)) {
            bytes.extend_from_slice(&self.payload[section.range.clone()]);
        }
        bytes.freeze()
    }

    #[must_use]
    pub fn section(&self, section: Section) -> Option<&SealedSection> {
        self.sections.iter().find(|s| s.facts.section == section)
    }

    /// A section as before sealing, for another snapshot.
    #[must_use]
    pub fn part(&self, section: Section) -> Option<Part> {
        let SealedSection { facts, read_position, range, rows } = self.section(section)?.clone();
        Some(Part { facts, read_position, bytes: self.payload.slice(range), rows })
    }

    /// Whether no section is STALE or FAILED.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.sections.iter().any(|s| matches!(s.facts.state, State::Stale | State::Failed))
    }

    /// The parts that are the same in each response; `encode` runs once.
    #[must_use]
    pub fn encoded_parts(&self, encode: impl FnOnce() -> EncodedParts) -> &EncodedParts {
        self.0.encoded.get_or_init(encode)
    }

    /// When this share of its lifetime is over.
    #[must_use]
    pub fn refresh_at(&self, share: f64) -> DateTime<Utc> {
        let life = (self.expires_at - self.as_of).to_std().unwrap_or_default();
        self.as_of + life.mul_f64(share)
    }

    /// The highest read position. An invalidation of all sections above it outdates the whole snapshot.
    #[must_use]
    pub fn read_position_max(&self) -> i64 {
        self.sections.iter().map(|s| s.read_position).max().unwrap_or_default()
    }

    /// Of two valid snapshots of one epoch, the higher one is newer: by its position in the log. The wall clock, which may
    /// step back, only decides between two that were read at one position.
    #[must_use]
    pub fn order(&self) -> (i64, DateTime<Utc>) {
        (self.read_position_max(), self.as_of)
    }

    /// Approximate size in memory: payload, rows, index and bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        const BOOKKEEPING: usize = 640;
        const REPORT: usize = 32;
        let texts: usize = self
            .sections
            .iter()
            .flat_map(|s| s.facts.warnings.iter().chain([&s.facts.detail, &s.facts.reason]))
            .map(String::len)
            .sum();
        let rows: usize = self.sections.iter().map(|s| s.rows.len()).sum();
        let index = self.sections.len() * (size_of::<SealedSection>() + REPORT);
        // Texts count twice: here and in the encoded parts.
        self.payload.len() + rows + index + 2 * texts + BOOKKEEPING
    }
}

/// For a tier that reads a sealed document: it has checked that the ranges ascend and fill the payload.
impl From<Sealed> for Snapshot {
    fn from(sealed: Sealed) -> Self {
        Self(Arc::new(SharedSnapshot { sealed, encoded: OnceLock::new() }))
    }
}

impl std::ops::Deref for Snapshot {
    type Target = Sealed;

    fn deref(&self) -> &Sealed {
        &self.0.sealed
    }
}
