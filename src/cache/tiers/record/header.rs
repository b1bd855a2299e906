//! The header of a record: its key, its expiry, and the facts of each section.

use std::time::Duration;

use chrono::DateTime;

use crate::{
    cache::tiers::error::TierError,
    model::{
        CacheKey, Generator, SealedSection, Section, Snapshot, State, section::DOCUMENT_ORDER, snapshot::SectionFacts,
    },
};

/// Why a Redis value is not the record of the requested document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another format or version.
    #[error("no record of this version")]
    Signature,
    /// Truncated or corrupt.
    #[error("checksum mismatch")]
    Checksum,
    #[error("malformed header")]
    Header(#[from] prost::DecodeError),
    /// A value that no writer produces.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The record of another document: colliding digests, or a copied key.
    #[error("another document's record")]
    Identity,
}

impl From<RecordError> for TierError {
    fn from(error: RecordError) -> Self {
        Self::Garbage(error.to_string())
    }
}

/// Fields are only added; a change of meaning needs a new version of the record.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub(super) epoch: String,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(int64, optional, tag = "3")]
    strategy: Option<i64>,
    #[prost(bytes = "vec", tag = "4")]
    data_hash: Vec<u8>,
    /// Microseconds since 1970.
    #[prost(int64, tag = "5")]
    pub(super) expires_at: i64,
    #[prost(message, repeated, tag = "6")]
    sections: Vec<SectionHeader>,
}

/// One section, in document order: its bytes follow those of the one before.
#[derive(Clone, PartialEq, prost::Message)]
struct SectionHeader {
    #[prost(int32, tag = "1")]
    section: i32,
    #[prost(int64, tag = "2")]
    read_position: i64,
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int32, tag = "4")]
    generator: i32,
    /// Microseconds since 1970.
    #[prost(int64, tag = "5")]
    read_at: i64,
    #[prost(uint64, tag = "6")]
    took_ns: u64,
    #[prost(string, tag = "7")]
    reason: String,
    #[prost(string, repeated, tag = "8")]
    warnings: Vec<String>,
    #[prost(string, tag = "9")]
    detail: String,
    #[prost(uint64, tag = "10")]
    length: u64,
    #[prost(bytes = "vec", tag = "11")]
    rows: Vec<u8>,
}

impl Header {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            epoch: snapshot.epoch.to_string(),
            user: snapshot.key.user.as_str().to_owned(),
            strategy: snapshot.key.strategy.map(crate::model::StrategyId::get),
            data_hash: snapshot.key.hash.bytes().to_vec(),
            expires_at: snapshot.expires_at.timestamp_micros(),
            sections: snapshot.sections.iter().map(SectionHeader::of).collect(),
        }
    }

    /// Whether it belongs to `key`. Compares more than the hash.
    pub(super) fn names(&self, key: &CacheKey) -> bool {
        self.user == key.user.as_str()
            && self.strategy == key.strategy.map(crate::model::StrategyId::get)
            && self.data_hash == key.hash.bytes()
    }

    /// The sections with their ranges, and the payload's length, which is at most `bytes_max`.
    pub(super) fn sections(&self, bytes_max: usize) -> Result<(Vec<SealedSection>, usize), RecordError> {
        if self.sections.len() > DOCUMENT_ORDER.len() {
            return Err(RecordError::Invalid("sections"));
        }
        let mut sections: Vec<SealedSection> = Vec::with_capacity(self.sections.len());
        let mut end = 0;
        let mut order = DOCUMENT_ORDER.into_iter();
        for stored in &self.sections {
            let section = stored.section()?;
            // Consumes the order up to the section, so that a repeated or misplaced one is refused.
            if !order.any(|next| next == section) {
                return Err(RecordError::Invalid("sections"));
            }
            let start = end;
            end = usize::try_from(stored.length)
                .ok()
                .and_then(|length| length.checked_add(start))
                .filter(|end| *end <= bytes_max)
                .ok_or(RecordError::Invalid("section length"))?;
            let rows = stored.rows.clone().into();
            sections.push(SealedSection {
                facts: stored.facts(section)?,
                read_position: stored.read_position,
                range: start..end,
                rows,
            });
        }
        Ok((sections, end))
    }
}

impl SectionHeader {
    fn of(section: &SealedSection) -> Self {
        let facts = &section.facts;
        Self {
            section: facts.section.into(),
            read_position: section.read_position,
            state: facts.state.into(),
            generator: facts.generator.into(),
            read_at: facts.read_at.timestamp_micros(),
            took_ns: u64::try_from(facts.took.as_nanos()).unwrap_or(u64::MAX),
            reason: facts.reason.clone(),
            warnings: facts.warnings.clone(),
            detail: facts.detail.clone(),
            length: section.range.len() as u64,
            rows: section.rows.to_vec(),
        }
    }

    fn section(&self) -> Result<Section, RecordError> {
        Section::try_from(self.section).map_err(|_| RecordError::Invalid("section"))
    }

    fn facts(&self, section: Section) -> Result<SectionFacts, RecordError> {
        Ok(SectionFacts {
            section,
            state: State::try_from(self.state).map_err(|_| RecordError::Invalid("state"))?,
            generator: Generator::try_from(self.generator).map_err(|_| RecordError::Invalid("generator"))?,
            read_at: DateTime::from_timestamp_micros(self.read_at).ok_or(RecordError::Invalid("read_at"))?,
            took: Duration::from_nanos(self.took_ns),
            reason: self.reason.clone(),
            warnings: self.warnings.clone(),
            detail: self.detail.clone(),
        })
    }
}

#[cfg(test)]
impl Header {
    /// Makes the header claim a payload of another length, as a forger would.
    pub(super) fn claim(&mut self, length: u64) {
        self.sections.iter_mut().for_each(|section| section.length = 0);
        if let Some(section) = self.sections.last_mut() {
            section.length = length;
        }
    }
}
