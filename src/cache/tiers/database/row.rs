//! Conversion between snapshots and rows: one JSON column for the document, one for the facts of its sections. Of an
//! encrypted row, the first one holds both.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message as _;
use sea_orm::{DbErr, QueryResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::tiers::error::TierError,
    database::read_time,
    model::{
        CacheKey, Generator, SealedSection, Section, Snapshot, State, StrategyId,
        document::encode_sections,
        snapshot::{Part, Sealed, SectionFacts},
    },
    proto::v1::ComprehensiveUserData,
};

/// A row whose document and facts are JSON in clear.
pub(super) const IN_CLEAR: i32 = 1;
/// A row whose document is an encrypted record, and has the facts in it.
const ENCRYPTED: i32 = 2;
/// Of a row whose document an invalidation has dropped: it only counts accesses.
pub(super) const COUNTS_ONLY: i32 = 0;

/// 0 for none, because NULLs would be distinct in the unique index.
pub(super) fn strategy_key(strategy: Option<StrategyId>) -> i64 {
    strategy.map_or(0, StrategyId::get)
}

/// The columns of the read statement.
pub(super) struct StoredRow {
    document: String,
    sections: String,
    epoch: String,
    as_of: DateTime<Utc>,
    /// Until the row expires, by the database's clock; negative afterwards.
    micros_left: f64,
}

impl StoredRow {
    /// Reads the format first, because it defines the other columns.
    pub(super) fn read(row: &QueryResult) -> Result<Self, TierError> {
        check_format(row, IN_CLEAR)?;
        let as_of: String = row.try_get("", "as_of").map_err(unreadable)?;
        let as_of = read_time(&as_of).ok_or_else(|| TierError::Garbage("a time out of range".to_owned()))?;
        let columns = || -> Result<Self, DbErr> {
            Ok(Self {
                document: row.try_get("", "document")?,
                sections: row.try_get("", "sections")?,
                epoch: row.try_get("", "log_epoch")?,
                as_of,
                micros_left: row.try_get("", "micros_left")?,
            })
        };
        columns().map_err(unreadable)
    }

    /// `asked_at` is of our wall clock; only the rest of the TTL comes from the database's clock.
    pub(super) fn into_snapshot(self, key: &CacheKey, asked_at: DateTime<Utc>) -> Result<Snapshot, TierError> {
        let document: ComprehensiveUserData =
            serde_json::from_str(&self.document).map_err(|_| TierError::Garbage("a malformed document".to_owned()))?;
        if document.user_id != key.user.as_str() {
            return Err(TierError::Garbage("the document of another user".to_owned()));
        }
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
        let expires_at = expiry(asked_at, self.micros_left)?;
        Ok(Snapshot::seal(key.clone(), self.epoch.into(), self.as_of, expires_at, parts))
    }
}

/// The columns of the read statement that count if the row is encrypted: all else is in the encrypted record.
pub(super) struct EncryptedRow {
    pub(super) document: String,
    micros_left: f64,
}

impl EncryptedRow {
    pub(super) fn read(row: &QueryResult) -> Result<Self, TierError> {
        check_format(row, ENCRYPTED)?;
        Ok(Self {
            document: row.try_get("", "document").map_err(unreadable)?,
            micros_left: row.try_get("", "micros_left").map_err(unreadable)?,
        })
    }

    /// The snapshot with the row's expiry, which is by the database's clock.
    pub(super) fn expiring(&self, snapshot: &Snapshot, asked_at: DateTime<Utc>) -> Result<Snapshot, TierError> {
        let sealed = Sealed {
            key: snapshot.key.clone(),
            epoch: Arc::clone(&snapshot.epoch),
            payload: snapshot.payload.clone(),
            sections: snapshot.sections.clone(),
            as_of: snapshot.as_of,
            expires_at: expiry(asked_at, self.micros_left)?,
        };
        Ok(sealed.into())
    }
}

/// What a row holds of a document.
pub(super) struct RowContent {
    pub(super) document: String,
    pub(super) sections: String,
    pub(super) format: i32,
}

impl RowContent {
    pub(super) fn in_clear(snapshot: &Snapshot) -> Result<Self, TierError> {
        let (document, sections) = (document_json(snapshot)?, sections_json(snapshot)?);
        Ok(Self { document, sections, format: IN_CLEAR })
    }

    pub(super) fn encrypted(document: String) -> Self {
        Self { document, sections: "[]".to_owned(), format: ENCRYPTED }
    }

    /// The format of the rows that are read and written.
    pub(super) fn format(encrypted: bool) -> i32 {
        if encrypted { ENCRYPTED } else { IN_CLEAR }
    }
}

fn check_format(row: &QueryResult, expected: i32) -> Result<(), TierError> {
    let format: i32 = row.try_get("", "format").map_err(unreadable)?;
    match format {
        _ if format == expected => Ok(()),
        IN_CLEAR => Err(TierError::Garbage("a row in clear, and privacy.encrypt is on".to_owned())),
        ENCRYPTED => Err(TierError::Garbage("an encrypted row, and privacy.encrypt is off".to_owned())),
        other => Err(TierError::Garbage(format!("a row of format {other}"))),
    }
}

fn expiry(asked_at: DateTime<Utc>, micros_left: f64) -> Result<DateTime<Utc>, TierError> {
    let expiry = asked_at.checked_add_signed(TimeDelta::microseconds(micros_left as i64));
    expiry.ok_or_else(|| TierError::Garbage("an expiry out of range".to_owned()))
}

/// SQLite accepts values of any type in any column.
fn unreadable(_: DbErr) -> TierError {
    TierError::Garbage("a column of another type".to_owned())
}

fn document_json(snapshot: &Snapshot) -> Result<String, TierError> {
    let document = ComprehensiveUserData::decode(snapshot.payload.clone())
        .map_err(|_| TierError::Garbage("a sealed document that does not decode".to_owned()))?;
    // The error itself would quote the document.
    serde_json::to_string(&document).map_err(|_| TierError::Garbage("a document without JSON form".to_owned()))
}

fn sections_json(snapshot: &Snapshot) -> Result<String, TierError> {
    let stored: Vec<StoredSection> = snapshot.sections.iter().map(StoredSection::of).collect();
    serde_json::to_string(&stored).map_err(|_| TierError::Garbage("section facts without JSON form".to_owned()))
}

/// An element of the column `sections`. Enums have their names from the contract.
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
    /// Base64; absent if no rows are kept.
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

    /// Without the bytes, which are in the document's JSON.
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

/// The columns of JSON as a snapshot, and what is read of them when that is written. None if they are no row of `key`.
#[cfg(feature = "mutants")]
pub(crate) fn read_twice(document: String, sections: String, key: &CacheKey) -> Option<(Snapshot, Snapshot)> {
    let read = |document, sections| {
        let (epoch, as_of, micros_left) = (String::new(), DateTime::UNIX_EPOCH, 1e6);
        StoredRow { document, sections, epoch, as_of, micros_left }.into_snapshot(key, DateTime::UNIX_EPOCH)
    };
    let snapshot = read(document, sections).ok()?;
    let written = document_json(&snapshot).and_then(|document| Ok((document, sections_json(&snapshot)?)));
    let (document, sections) = written.expect("what was read can be written");
    let again = read(document, sections).expect("what was written can be read");
    Some((snapshot, again))
}
