//! The sources' tables: whether they are readable and as expected, and whether triggers report their changes.

use std::time::Duration;

use sea_orm::DbErr;

use super::{
    Findings,
    databases::{Which, failed, unreadable, without_right},
    user_files,
};
use crate::{
    changes::{self, TriggerState},
    config::{Config, Secret},
    database::{Dialect, Pool, ReadServer},
    source_schema::{Catalogue, Cost, Difference, SourceTable, TABLES},
};

/// A running change relay needs a tenth of a second.
const WAITING_MAX: Duration = Duration::from_secs(10);
const INSTALL: &str = "run `userdata triggers install` as the owner of the tables; until then each writer of the tables has \
    to call InvalidateCache";

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    if let Some(places) = config.sources.files() {
        return user_files::examine(places, config, found).await;
    }
    let database = config.sources_database();
    let which = Which { check: "sources database", database, written: false };
    let Some(db) = open(which, config, found).await else { return };
    if let Err(error) = tables(&db, database.url, database.setting, found).await {
        failed("sources database", &error, found);
    }
    if let (Some(_), Err(error)) = (&config.sources.database_url, replica(&db, config, found).await) {
        failed("sources replica", &error, found);
    }
}

/// Whether this is a replica, and then whether its primary is known and can be read.
async fn replica(db: &Pool, config: &Config, found: &mut Findings) -> Result<(), DbErr> {
    const CHECK: &str = "sources replica";
    if Dialect::of(db).is_sqlite() {
        return Ok(());
    }
    let server = ReadServer::of(db).await?;
    if !server.is_replica {
        return Ok(());
    }
    let remedy = "name its primary in sources.relay_database_url";
    let Some(database) = config.relay_database() else {
        found.fail(CHECK, "this is a replica, and nothing is read from one whose primary is not known", remedy);
        return Ok(());
    };
    let which = Which { check: CHECK, database, written: false };
    let Some(primary) = which.open(found).await else { return Ok(()) };
    let named = ReadServer::of(&primary).await?;
    if named.is_replica || named.cluster != server.cluster {
        found.fail(CHECK, "sources.relay_database_url names another cluster, or a replica, too", remedy);
        return Ok(());
    }
    let without = unreadable_tables(&primary).await?;
    if !without.is_empty() {
        let what = format!("its primary is read when it lags behind; not granted there: {}", without.join(", "));
        found.fail(CHECK, what, "GRANT SELECT on them to the role in sources.relay_database_url");
        return Ok(());
    }
    found.ok(CHECK, "this is a replica; a load waits until it has what its primary has, or reads the primary");
    Ok(())
}

/// A session. If the sources share the cache's database, a failure is a finding of that.
async fn open(which: Which<'_>, config: &Config, found: &mut Findings) -> Option<Pool> {
    let mut told_elsewhere = Findings::default();
    let shared = config.sources.database_url.is_none();
    which.open(if shared { &mut told_elsewhere } else { found }).await
}

/// Tables, or columns of them, that the role may not read.
async fn unreadable_tables(db: &Pool) -> Result<Vec<String>, DbErr> {
    let read = TABLES.map(|table| (table.name, table.columns().map(|(column, _)| column).collect()));
    unreadable(db, read).await
}

async fn tables(db: &Pool, url: &Secret, setting: &str, found: &mut Findings) -> Result<(), DbErr> {
    found.ok("sources database", format!("{} answers", url.place()));
    let catalogue = Catalogue::read(db).await?;
    if !catalogue.knows_users() {
        found.fail(
            "sources tables",
            "none of onboarding_sessions, enhanced_content_strategies and content_strategies is there: no user is known",
            format!("is {setting} the planning application's database, and the schema in the role's search_path?"),
        );
        return Ok(());
    }
    let without = unreadable_tables(db).await?;
    if !without.is_empty() {
        let what = format!("not granted: {}", without.join(", "));
        found.fail("sources tables", what, format!("GRANT SELECT on them to the role in {setting}"));
    }
    differences(&catalogue, setting, found);
    costs(&catalogue, found);
    if without.is_empty() {
        let there = TABLES.iter().filter(|table| catalogue.has_table(table)).count();
        found.ok("sources tables", format!("{there} of {} tables are there and may be read", TABLES.len()));
    }
    Ok(())
}

/// What is absent from documents because the database does not have it.
fn differences(catalogue: &Catalogue, setting: &str, found: &mut Findings) {
    let differences = catalogue.differences();
    let name = |difference: &Difference| {
        let (table, column) = (difference.table().name, difference.column());
        column.map_or_else(|| table.to_owned(), |column| format!("{table}.{column}"))
    };
    let of = |is: fn(&Difference) -> bool| {
        let names: Vec<String> = differences.iter().filter(|difference| is(difference)).map(name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let older = format!(
        "none, if this is an older version of the planning application; else check {setting} and the role's search_path"
    );
    if let Some(tables) = of(|difference| matches!(difference, Difference::TableMissing(_))) {
        found.warn(
            "sources tables",
            format!("missing tables: {tables}: documents have nothing of them"),
            older.clone(),
        );
    }
    if let Some(columns) = of(|difference| matches!(difference, Difference::ColumnMissing(..))) {
        found.warn("sources tables", format!("missing columns: {columns}: documents have nothing of them"), older);
    }
    if let Some(columns) = of(|difference| matches!(difference, Difference::ColumnType(..))) {
        found.warn(
            "sources tables",
            format!("of a type that cannot be read: {columns}: documents have nothing of them"),
            "ALTER the columns to a type that docs/data.md names for them",
        );
    }
}

/// What is read although its type is not the described one.
fn costs(catalogue: &Catalogue, found: &mut Findings) {
    let of = |cost| {
        let is = |(table, column, at): (&'static SourceTable, &'static str, Cost)| {
            (at == cost).then(|| format!("{}.{column}", table.name))
        };
        let columns: Vec<String> = catalogue.costs().filter_map(is).collect();
        (!columns.is_empty()).then(|| columns.join(", "))
    };
    for (cost, what) in [
        (Cost::NoIndex, "read through a conversion, for which no index serves: each read scans the table"),
        (Cost::FlatObjectsOnly, "read as text: only JSON objects without objects or arrays inside count"),
        (Cost::PlainNumbersOnly, "read as text: only plain decimal numbers count, other text is absent"),
    ] {
        if let Some(columns) = of(cost) {
            let remedy = "ALTER the columns to the types that docs/data.md describes";
            found.warn("sources tables", format!("{columns}: {what}"), remedy);
        }
    }
}

/// The change feed, if it is configured.
pub(super) async fn triggers(config: &Config, found: &mut Findings) {
    let sources = &config.sources;
    if sources.files().is_some() {
        return found.ok("change triggers", "not needed: the files of users who are read are looked at");
    }
    if !sources.change_feed {
        return found.ok("change triggers", "switched off (sources.change_feed): changes are told by InvalidateCache");
    }
    let Some(database) = config.outbox_database() else {
        return found.warn(
            "change triggers",
            "changes in the sources do not make themselves known: there is no login that may empty their outbox",
            "install triggers, and give sources.relay_database_url; or have every change told by InvalidateCache, and \
             set sources.change_feed=false",
        );
    };
    let which = Which { check: "change triggers", database, written: true };
    let Some(db) = open(which, config, found).await else { return };
    if let Err(error) = feed(&db, database.setting, found).await {
        failed("change triggers", &error, found);
    }
}

async fn feed(db: &Pool, setting: &str, found: &mut Findings) -> Result<(), DbErr> {
    let states = changes::status(db).await?;
    let of = |state| states.iter().filter(|table| table.state == state).map(|table| table.table).collect::<Vec<_>>();
    let (absent, outdated) = (of(TriggerState::Absent), of(TriggerState::Outdated));
    let waiting = changes::waiting(db).await?;
    let there = states.iter().filter(|table| table.state != TriggerState::TableMissing).count();
    if absent.len() == there {
        found.warn("change triggers", "no table has them", INSTALL);
        return Ok(());
    }
    for (what, tables) in
        [("no triggers on", absent), ("triggers disabled, incomplete or of another version on", outdated)]
    {
        if !tables.is_empty() {
            found.fail("change triggers", format!("{what} {}: changes there go unnoticed", tables.join(", ")), INSTALL);
        }
    }
    let unwatchable = of(TriggerState::Unwatchable);
    if !unwatchable.is_empty() {
        found.fail(
            "change triggers",
            format!("cannot be watched: {}: triggers do not see all of their rows", unwatchable.join(", ")),
            "have tables in place of views and foreign tables, and partitions in place of tables that inherit",
        );
    }
    let Some(waiting) = waiting else {
        found.fail("change outbox", "the triggers have no outbox: every write to the sources' tables fails", INSTALL);
        return Ok(());
    };
    requirements(db, setting, found).await?;
    let (rows, age) = (waiting.rows, waiting.age);
    if age > WAITING_MAX {
        found.warn(
            "change outbox",
            format!("{rows} changes wait, the oldest for {age:.0?}: no instance relays them"),
            "start an instance with this configuration; one that runs says in its log why changes could not be relayed",
        );
    } else {
        found.ok("change outbox", format!("{rows} changes wait"));
    }
    if of(TriggerState::Installed).len() == there {
        found.ok("change triggers", format!("installed on {there} tables"));
    }
    Ok(())
}

/// What the relay's role may do, and what must not be copied to other databases.
async fn requirements(db: &Pool, setting: &str, found: &mut Findings) -> Result<(), DbErr> {
    for (table, rights) in changes::WRITTEN {
        let without = without_right(db, [table], rights).await?;
        if !without.is_empty() {
            let remedy = format!("GRANT {} ON {table} to the role in {setting}", rights.join(", "));
            found.fail("change outbox", format!("not granted: {}", without.join(", ")), remedy);
        }
    }
    let without = unreadable(db, changes::read_for_owners()).await?;
    if !without.is_empty() {
        let tables = without.join(", ");
        found.fail(
            "change outbox",
            format!("not granted: SELECT on {tables}: each change that needs them invalidates for everyone"),
            format!("GRANT SELECT on them to the role in {setting}"),
        );
    }
    let published = changes::published(db).await?;
    if !published.is_empty() {
        found.fail(
            "change outbox",
            format!("published: {}: a subscriber that notes changes itself cannot apply them", published.join(", ")),
            "ALTER PUBLICATION .. DROP TABLE; a publication FOR ALL TABLES or of the whole schema has to name its tables",
        );
    }
    Ok(())
}
