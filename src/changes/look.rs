//! One look into the outbox: the new notes, each distinct one once, and what they rest on, in one snapshot.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::{
    consumed::{Consumed, Discontinuity, Highest, PgSnapshot, Prints, SourceServer, UpTo},
    watched::{OUTBOX, sections_of},
};
use crate::{database::Dialect, model::SectionSet, source_schema::TABLES};

/// The ids of a note, as text, by the names that [`super::watched::IDS`] has them.
pub(super) type NoteIds = [Option<String>; 6];

/// Equal notes.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) source: String,
    pub(super) ids: NoteIds,
    pub(super) sections: SectionSet,
    pub(super) only_updated_at: bool,
}

impl Note {
    /// It may be one of anything.
    fn unreadable(error: DbErr) -> Self {
        tracing::error!(%error, "outbox has an unreadable note; everything cached counts as outdated");
        Self::of_everyone()
    }

    /// Any row of any watched table may have changed.
    pub(super) fn of_everyone() -> Self {
        Self { source: String::new(), ids: NoteIds::default(), sections: all_sections(), only_updated_at: false }
    }
}

/// Of all tables that are watched.
pub(super) fn all_sections() -> SectionSet {
    TABLES.iter().fold(SectionSet::NONE, |all, table| all.union(sections_of(table)))
}

#[derive(Debug)]
pub(super) struct OutboxLook {
    /// What is consumed with these notes.
    pub(super) consumed: Consumed,
    pub(super) trimmed_below: u64,
    /// SQLite: the nonce that the last consumed note has now.
    consumed_nonce: Option<String>,
    pub(super) notes: Vec<Note>,
    pub(super) rows: u64,
    pub(super) age: Duration,
}

/// What a look asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Notes at most.
    pub(super) rows: u64,
    /// Distinct notes at most.
    pub(super) notes: u64,
}

/// Where a look begins.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// At the first note that is there.
    Nothing,
    Consumed(Consumed),
}

impl After {
    pub(super) fn of(before: Option<&Consumed>) -> Self {
        before.map_or(Self::Nothing, |before| Self::Consumed(before.clone()))
    }
}

impl OutboxLook {
    /// Everything in one statement: on PostgreSQL also outside of a transaction one snapshot.
    pub(super) async fn take(db: &impl ConnectionTrait, after: &After, extent: Extent) -> Result<Self, DbErr> {
        let rows = db.query_all_raw(statement(Dialect::of(db), after, extent)).await?;
        let first = rows.first().ok_or_else(|| DbErr::RecordNotFound("a look into the outbox".to_owned()))?;
        let mut look = match Dialect::of(db) {
            Dialect::Postgres => in_postgres(first)?,
            Dialect::Sqlite => in_sqlite(first)?,
        };
        for row in &rows {
            let read = match row.try_get::<Option<String>>("", "source") {
                // Without a note there is one row, of NULLs.
                Ok(None) => continue,
                Ok(Some(source)) => note(row, source),
                Err(error) => Err(error),
            };
            look.rows += u64::try_from(row.try_get::<i64>("", "rows")?).unwrap_or_default();
            let age = row.try_get::<i64>("", "age").ok().and_then(|age| age.try_into().ok());
            look.age = look.age.max(Duration::from_micros(age.unwrap_or_default()));
            look.notes.push(read.unwrap_or_else(Note::unreadable));
        }
        Ok(look)
    }

    /// The same where there is no outbox: no note, and no print.
    pub(super) async fn without_outbox(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let sql = match Dialect::of(db) {
            Dialect::Postgres => include_str!("sql/look_without_outbox.postgres.sql"),
            Dialect::Sqlite => {
                "SELECT 0 AS schema_version, NULL AS highest, NULL AS highest_nonce, NULL AS consumed_nonce, 0 AS trimmed_below"
            }
        };
        let row = db.query_one_raw(Dialect::of(db).statement(sql, [])).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("a look at the server".to_owned()))?;
        let mut look = match Dialect::of(db) {
            Dialect::Postgres => in_postgres(&row)?,
            Dialect::Sqlite => in_sqlite(&row)?,
        };
        look.consumed.prints.clear();
        Ok(look)
    }

    /// Whether this server or file is not the one that `before` was read from, or lacks what was read of it.
    pub(super) fn discontinuity(&self, before: &Consumed) -> Option<Discontinuity> {
        let (now, then) = (&self.consumed.server, &before.server);
        if now.identity != then.identity {
            return Some(Discontinuity::AnotherServer);
        }
        if now.timeline != then.timeline {
            return Some(Discontinuity::Restored);
        }
        match (&self.consumed.up_to, &before.up_to) {
            (UpTo::Snapshot(now), UpTo::Snapshot(then)) => {
                if then.xmax > now.xmax {
                    return Some(Discontinuity::Restored);
                }
                (then.xmin < self.trimmed_below).then_some(Discontinuity::Trimmed)
            }
            (UpTo::Highest(_), UpTo::Highest(then)) => {
                if u64::try_from(then.id).is_ok_and(|id| id < self.trimmed_below) {
                    return Some(Discontinuity::Trimmed);
                }
                (then.id > 0 && then.nonce != self.consumed_nonce).then_some(Discontinuity::Restored)
            }
            _ => Some(Discontinuity::AnotherServer),
        }
    }

    /// Whether the server was started since: transaction ids that were visible in the stored snapshot may have been lost
    /// with a crash, and given again.
    pub(super) fn was_restarted(&self, before: &Consumed) -> bool {
        self.consumed.server.started != before.server.started
    }
}

fn statement(dialect: Dialect, after: &After, extent: Extent) -> sea_orm::Statement {
    let count = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    match dialect {
        Dialect::Postgres => {
            let snapshot = match after {
                After::Nothing => PgSnapshot::nothing(),
                After::Consumed(consumed) => consumed.snapshot(),
            };
            let values: [Value; 6] = [
                snapshot.xmax.to_string().into(),
                snapshot.running_array().into(),
                String::from(snapshot).into(),
                count(extent.rows),
                count(extent.notes),
                relations().into(),
            ];
            dialect.statement(include_str!("sql/look.postgres.sql"), values)
        }
        Dialect::Sqlite => {
            let highest = match after {
                After::Nothing => 0,
                After::Consumed(consumed) => consumed.highest().id,
            };
            let values: [Value; 3] = [highest.into(), count(extent.rows), count(extent.notes)];
            dialect.statement(include_str!("sql/look.sqlite.sql"), values)
        }
    }
}

/// All that is watched, and the outbox.
fn relations() -> String {
    let names: Vec<&str> = TABLES.iter().map(|table| table.name).chain([OUTBOX]).collect();
    names.join(",")
}

fn in_postgres(row: &QueryResult) -> Result<OutboxLook, DbErr> {
    let snapshot: String = row.try_get("", "snapshot")?;
    let snapshot = PgSnapshot::try_from(snapshot).map_err(|error| DbErr::Type(error.to_string()))?;
    let prints: String = row.try_get("", "prints")?;
    let prints: Prints = serde_json::from_str(&prints).map_err(|error| DbErr::Type(error.to_string()))?;
    let trimmed_below: Option<String> = row.try_get("", "trimmed_below")?;
    let server = SourceServer {
        identity: row.try_get("", "server")?,
        timeline: row.try_get("", "timeline")?,
        started: row.try_get("", "started")?,
    };
    Ok(OutboxLook {
        consumed: Consumed { server, up_to: UpTo::Snapshot(snapshot), prints, read_at: row.try_get("", "now")? },
        // Without its row it is not known what is gone.
        trimmed_below: trimmed_below.and_then(|below| below.parse().ok()).unwrap_or(u64::MAX),
        consumed_nonce: None,
        notes: Vec::new(),
        rows: 0,
        age: Duration::ZERO,
    })
}

fn in_sqlite(row: &QueryResult) -> Result<OutboxLook, DbErr> {
    let version: i64 = row.try_get("", "schema_version")?;
    let highest = Highest {
        id: row.try_get::<Option<i64>>("", "highest")?.unwrap_or_default(),
        nonce: row.try_get("", "highest_nonce")?,
    };
    let trimmed_below: Option<i64> = row.try_get("", "trimmed_below")?;
    Ok(OutboxLook {
        consumed: Consumed {
            server: SourceServer::default(),
            up_to: UpTo::Highest(highest),
            prints: Prints::from([(String::new(), version.to_string())]),
            read_at: 0,
        },
        trimmed_below: trimmed_below.and_then(|below| below.try_into().ok()).unwrap_or(u64::MAX),
        consumed_nonce: row.try_get("", "consumed_nonce")?,
        notes: Vec::new(),
        rows: 0,
        age: Duration::ZERO,
    })
}

fn note(row: &QueryResult, source: String) -> Result<Note, DbErr> {
    let mut ids = NoteIds::default();
    for (place, column) in super::watched::IDS.into_iter().enumerate() {
        ids[place] = row.try_get("", column)?;
    }
    let sections = SectionSet::from_bits(row.try_get("", "sections")?);
    Ok(Note { source, ids, sections, only_updated_at: row.try_get("", "only_updated_at")? })
}
