//! The sources' tables: whether they are readable and as expected, and whether triggers report their changes.

use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr};

use super::{
    Findings,
    databases::{Which, failed, unreadable, without_right},
};
use crate::{
    changes::{self, State},
    config::{Config, Secret},
    source_schema::{self, TABLES},
};

/// A running change relay needs a tenth of a second.
const WAITING_MAX: Duration = Duration::from_secs(10);
const INSTALL: &str = "run `userdata triggers install` as the owner of the tables; until then whoever changes data has to call \
    InvalidateCache";

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    let (setting, url) = match &config.sources.database_url {
        Some(url) => ("sources.database_url", url),
        None => ("database.url", &config.database.url),
    };
    let which = Which { check: "sources database", setting, url, written: false };
    let Some(db) = open(which, config, found).await else { return };
    if let Err(error) = tables(&db, url, setting, found).await {
        failed("sources database", &error, found);
    }
}

/// A session. If the sources share the cache's database, a failure is a finding of that.
async fn open(which: Which<'_>, config: &Config, found: &mut Findings) -> Option<DatabaseConnection> {
    let mut told_elsewhere = Findings::default();
    let shared = config.sources.database_url.is_none();
    which.open(if shared { &mut told_elsewhere } else { found }).await
}

async fn tables(db: &DatabaseConnection, url: &Secret, setting: &str, found: &mut Findings) -> Result<(), DbErr> {
    found.ok("sources database", format!("{} answers", url.place()));
    let lacking = source_schema::lacking(db).await?;
    let missing: Vec<_> = lacking.iter().filter(|lacks| lacks.columns.is_empty()).map(|lacks| lacks.table).collect();
    let columns: Vec<_> = lacking
        .iter()
        .flat_map(|lacks| lacks.columns.iter().map(move |column| format!("{}.{column}", lacks.table)))
        .collect();
    let read = TABLES.map(|table| (table.name, table.columns().map(|(column, _)| column).collect()));
    let without = unreadable(db, read).await?;
    if !missing.is_empty() {
        found.fail(
            "sources tables",
            format!("missing: {}", missing.join(", ")),
            format!("is {setting} the planning application's database, and the schema in the role's search_path?"),
        );
    }
    if !columns.is_empty() {
        let what = format!("missing columns: {}", columns.join(", "));
        found.fail(
            "sources tables",
            what,
            "bring the planning application's tables to the version that docs/data.md describes",
        );
    }
    if !without.is_empty() {
        let what = format!("not granted: {}", without.join(", "));
        found.fail("sources tables", what, format!("GRANT SELECT on them to the role in {setting}"));
    }
    if missing.is_empty() && columns.is_empty() && without.is_empty() {
        found.ok("sources tables", format!("{} tables are as expected and may be read", TABLES.len()));
    }
    Ok(())
}

/// The change feed, if it is configured.
pub(super) async fn triggers(config: &Config, found: &mut Findings) {
    let sources = &config.sources;
    if !sources.change_feed {
        return found.ok("change triggers", "switched off (sources.change_feed): changes are told by InvalidateCache");
    }
    let (setting, url) = match (&sources.database_url, &sources.relay_database_url) {
        (None, _) => ("database.url", &config.database.url),
        (Some(_), Some(url)) => ("sources.relay_database_url", url),
        (Some(_), None) => {
            return found.warn(
                "change triggers",
                "changes in the sources do not make themselves known: there is no login that may empty their outbox",
                "install triggers, and give sources.relay_database_url; or have every change told by InvalidateCache, and \
                 set sources.change_feed=false",
            );
        }
    };
    let which = Which { check: "change triggers", setting, url, written: true };
    let Some(db) = open(which, config, found).await else { return };
    if let Err(error) = feed(&db, setting, found).await {
        failed("change triggers", &error, found);
    }
}

async fn feed(db: &DatabaseConnection, setting: &str, found: &mut Findings) -> Result<(), DbErr> {
    let states = changes::status(db).await?;
    let of = |state| states.iter().filter(|table| table.state == state).map(|table| table.table).collect::<Vec<_>>();
    let (absent, outdated) = (of(State::Absent), of(State::Outdated));
    let waiting = changes::waiting(db).await?;
    if absent.len() == states.len() {
        found.warn("change triggers", "no table has them", INSTALL);
        return Ok(());
    }
    for (what, tables) in [("no triggers on", absent), ("triggers of another version on", outdated)] {
        if !tables.is_empty() {
            found.fail("change triggers", format!("{what} {}: changes there go unnoticed", tables.join(", ")), INSTALL);
        }
    }
    let Some(waiting) = waiting else {
        found.fail("change outbox", "the triggers have no outbox: every write to the sources' tables fails", INSTALL);
        return Ok(());
    };
    let without = without_right(db, ["invalidation_outbox"], &["SELECT", "UPDATE", "DELETE"]).await?;
    if !without.is_empty() {
        let remedy = format!("GRANT SELECT, UPDATE, DELETE ON invalidation_outbox to the role in {setting}");
        found.fail("change outbox", format!("not granted: {}", without.join(", ")), remedy);
    }
    let (rows, age) = (waiting.rows, waiting.age);
    if age > WAITING_MAX {
        found.warn(
            "change outbox",
            format!("{rows} changes wait, the oldest for {age:.0?}: nobody moves them"),
            "start an instance with this configuration; one that runs says in its log why changes could not be relayed",
        );
    } else {
        found.ok("change outbox", format!("{rows} changes wait"));
    }
    if states.iter().all(|table| table.state == State::Installed) {
        found.ok("change triggers", format!("installed on {} tables", states.len()));
    }
    Ok(())
}
