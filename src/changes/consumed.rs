//! How far a cluster has read an outbox, and what that says about the next look.
//!
//! On PostgreSQL it is a snapshot, because transactions commit in another order than they get their numbers in: a note
//! is new if its transaction was not visible in the stored snapshot. On SQLite, which has one writer, it is the highest id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a cluster has read of an outbox, and of which database. Stored as JSON in the log's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    pub(super) server: SourceServer,
    pub(super) up_to: UpTo,
    /// What the notes rest on, by table: triggers, their functions, columns, files.
    pub(super) prints: Prints,
    /// Microseconds since 1970 by the database's clock. A reading that finds nothing new keeps a snapshot for a while.
    pub(super) read_at: i64,
}

/// By the name of the table; on SQLite one for the whole file.
pub(super) type Prints = BTreeMap<String, String>;

/// Which server, and which of its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceServer {
    /// The system's identifier and the database's.
    pub(super) identity: String,
    pub(super) timeline: String,
    /// When it was started.
    pub(super) started: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum UpTo {
    Snapshot(PgSnapshot),
    Highest(Highest),
}

/// PostgreSQL's `pg_snapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct PgSnapshot {
    pub(super) xmin: u64,
    pub(super) xmax: u64,
    pub(super) running: Vec<u64>,
}

/// SQLite's last note that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Highest {
    pub(super) id: i64,
    /// None: there was no note.
    pub(super) nonce: Option<String>,
}

/// Why a reading does not continue the one before: everything cached is outdated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discontinuity {
    /// Nothing was read before.
    NotRegistered,
    /// Notes that were not read are gone.
    Trimmed,
    /// The database is an older copy of itself, or another branch of its history.
    Restored,
    /// The outbox is another database's.
    AnotherServer,
    /// More notes wait than are worth reading.
    Backlog,
}

impl Discontinuity {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotRegistered => "not_registered",
            Self::Trimmed => "trimmed",
            Self::Restored => "restored",
            Self::AnotherServer => "another_server",
            Self::Backlog => "backlog",
        }
    }
}

impl Consumed {
    /// The snapshot; of another kind of database, one in which nothing is visible.
    pub(super) fn snapshot(&self) -> PgSnapshot {
        match &self.up_to {
            UpTo::Snapshot(snapshot) => snapshot.clone(),
            UpTo::Highest(_) => PgSnapshot::nothing(),
        }
    }

    /// The last note read; of another kind of database, none.
    pub(super) fn highest(&self) -> Highest {
        match &self.up_to {
            UpTo::Highest(highest) => highest.clone(),
            UpTo::Snapshot(_) => Highest::default(),
        }
    }
}

impl PgSnapshot {
    /// The snapshot in which no transaction is visible.
    pub(super) fn nothing() -> Self {
        Self { xmin: 1, xmax: 1, running: Vec::new() }
    }

    /// The running transactions as PostgreSQL writes an array.
    pub(super) fn running_array(&self) -> String {
        format!("{{{}}}", list(&self.running))
    }
}

fn list(xids: &[u64]) -> String {
    xids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[derive(Debug, thiserror::Error)]
#[error("not a pg_snapshot: {0}")]
pub(super) struct SnapshotError(String);

impl TryFrom<String> for PgSnapshot {
    type Error = SnapshotError;

    fn try_from(text: String) -> Result<Self, SnapshotError> {
        let parse = |text: &str| {
            let mut parts = text.split(':');
            let (xmin, xmax, running) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
            let running = running.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
            Some(Self { xmin, xmax, running: running.collect::<Option<_>>()? })
        };
        parse(&text).ok_or(SnapshotError(text))
    }
}

impl From<PgSnapshot> for String {
    fn from(snapshot: PgSnapshot) -> Self {
        format!("{}:{}:{}", snapshot.xmin, snapshot.xmax, list(&snapshot.running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_consumed_is_stored_as_text_and_read_again() {
        for (up_to, text) in [
            (UpTo::Snapshot(PgSnapshot { xmin: 7, xmax: 12, running: vec![7, 9] }), r#"{"Snapshot":"7:12:7,9"}"#),
            (UpTo::Snapshot(PgSnapshot::nothing()), r#"{"Snapshot":"1:1:"}"#),
        ] {
            assert_eq!(serde_json::to_string(&up_to).unwrap(), text);
            assert_eq!(serde_json::from_str::<UpTo>(text).unwrap(), up_to);
        }
        assert!(serde_json::from_str::<UpTo>(r#"{"Snapshot":"7:12"}"#).is_err());
        assert_eq!(PgSnapshot { xmin: 7, xmax: 12, running: vec![7, 9] }.running_array(), "{7,9}");
    }
}
