//! A snapshot as a row, and back: the document as JSON, the sections' facts as another.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use prost::Message as _;
use sea_orm::{DbErr, QueryResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::tiers::error::TierError,
    model::{
        CacheKey, Generator, SealedSection, Section, Snapshot, State,
        document::encode_sections,
        snapshot::{Part, SectionFacts},
    },
    proto::v1::ComprehensiveUserData,
};

/// Version of the row's layout; another one is not read.
pub(super) const FORMAT: i32 = 1;
pub(super) use crate::database::SIX_DECIMALS;

/// What the read statement returns.
pub(super) struct StoredRow {
    document: String,
    sections: String,
    epoch: String,
    as_of: NaiveDateTime,
    /// Of the row's life, by the database's clock; negative if it has expired.
    micros_left: i64,
}

impl StoredRow {
    /// Reads the columns. The format first: nothing is known about the columns of another one.
    pub(super) fn read(row: &QueryResult) -> Result<Self, TierError> {
        let format: i32 = row.try_get("", "format").map_err(unreadable)?;
        if format != FORMAT {
            return Err(TierError::Garbage(format!("a row of format {format}")));
        }
        let columns = || -> Result<Self, DbErr> {
            Ok(Self {
                document: row.try_get("", "document")?,
                sections: row.try_get("", "sections")?,
                epoch: row.try_get("", "log_epoch")?,
                as_of: row.try_get("", "as_of")?,
                micros_left: row.try_get("", "micros_left")?,
            })
        };
        columns().map_err(unreadable)
    }

    /// The snapshot. `asked_at` is of our wall clock: only what is left of its life comes from the database's.
    pub(super) fn into_snapshot(self, key: &CacheKey, asked_at: DateTime<Utc>) -> Result<Snapshot, TierError> {
        let document: ComprehensiveUserData =
            serde_json::from_str(&self.document).map_err(|_| TierError::Garbage("a malformed document".to_owned()))?;
        let stored: Vec<StoredSection> = serde_json::from_str(&self.sections)
            .map_err(|_| TierError::Garbage("malformed section facts".to_owned()))?;
        let stored: Vec<Part> = stored
            .into_iter()
            .map(StoredSection::into_part)
            .collect::<Option<_>>()
            .ok_or_else(|| TierError::Garbage("unknown section facts".to_owned()))?;

        let mut parts = Vec::with_capacity(stored.len());
        for (section, bytes) in encode_sections(document) {
            let mut of_section = stored.iter().filter(|part| part.facts.section == section);
            match (of_section.next(), of_section.next()) {
                (Some(stored), None) => parts.push(Part { bytes, ..stored.clone() }),
                (None, _) if bytes.is_empty() => {}
                _ => return Err(TierError::Garbage("section facts that do not fit the document".to_owned())),
            }
        }
        let expires_at = asked_at
            .checked_add_signed(TimeDelta::microseconds(self.micros_left))
            .ok_or_else(|| TierError::Garbage("an expiry out of range".to_owned()))?;
        Ok(Snapshot::seal(key.clone(), self.epoch.into(), self.as_of.and_utc(), expires_at, parts))
    }
}

/// A column that has another type than it should: SQLite takes anything in any column.
fn unreadable(_: DbErr) -> TierError {
    TierError::Garbage("a column of another type".to_owned())
}

/// The document's JSON form.
pub(super) fn document_json(snapshot: &Snapshot) -> Result<String, TierError> {
    let document = ComprehensiveUserData::decode(snapshot.payload.clone())
        .map_err(|_| TierError::Garbage("a sealed document that does not decode".to_owned()))?;
    // The error would quote the document.
    serde_json::to_string(&document).map_err(|_| TierError::Garbage("a document without JSON form".to_owned()))
}

/// The sections' facts as JSON.
pub(super) fn sections_json(snapshot: &Snapshot) -> Result<String, TierError> {
    let stored: Vec<StoredSection> = snapshot.sections.iter().map(StoredSection::of).collect();
    serde_json::to_string(&stored).map_err(|_| TierError::Garbage("section facts without JSON form".to_owned()))
}

/// One element of the column `sections`; enums by their names in the contract.
#[derive(Serialize, Deserialize)]
struct StoredSection {
    section: String,
    read_position: i64,
    state: String,
    generator: String,
    read_at: DateTime<Utc>,
    took_ms: f64,
    reason: String,
    warnings: Vec<String>,
    detail: String,
    /// In base64; absent: none are kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rows: String,
}

impl StoredSection {
    fn of(section: &SealedSection) -> Self {
        let facts = &section.facts;
        Self {
            section: facts.section.as_str_name().to_owned(),
            read_position: section.read_position,
            state: facts.state.as_str_name().to_owned(),
            generator: facts.generator.as_str_name().to_owned(),
            read_at: facts.read_at,
            took_ms: facts.took.as_secs_f64() * 1e3,
            reason: facts.reason.clone(),
            warnings: facts.warnings.clone(),
            detail: facts.detail.clone(),
            rows: BASE64.encode(&section.rows),
        }
    }

    /// All but its bytes, which the document's JSON has.
    fn into_part(self) -> Option<Part> {
        let facts = SectionFacts {
            section: Section::from_str_name(&self.section)?,
            state: State::from_str_name(&self.state)?,
            generator: Generator::from_str_name(&self.generator)?,
            read_at: self.read_at,
            took: Duration::try_from_secs_f64(self.took_ms / 1e3).ok()?,
            reason: self.reason,
            warnings: self.warnings,
            detail: self.detail,
        };
        Some(Part {
            facts,
            read_position: self.read_position,
            bytes: Bytes::new(),
            rows: BASE64.decode(self.rows).ok()?.into(),
        })
    }
}
