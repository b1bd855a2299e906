//! Read-only sessions in the databases, and checks of privileges.

use std::path::Path;

use rustix::fs::{Access as Rights, access};
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use super::{Findings, REACH_MAX};
use crate::{
    config::DatabaseSetting,
    database::{self, Access, ConnectError, Dialect, Options, Pool},
    error::with_causes,
};

pub(super) const HANGS: &str = "the database takes connections and does not answer: is it overloaded, out of disk, or \
    does another session hold locks (pg_stat_activity, pg_locks)?";

/// A database, and the name of its finding.
#[derive(Clone, Copy)]
pub(super) struct Which<'a> {
    pub(super) check: &'static str,
    pub(super) database: DatabaseSetting<'a>,
    /// Whether `serve` writes to it.
    pub(super) written: bool,
}

impl Which<'_> {
    /// A session that cannot write. A failure is a finding.
    pub(super) async fn open(self, found: &mut Findings) -> Option<Pool> {
        let Self { check, database: DatabaseSetting { url, setting, pooler, pooler_setting }, written } = self;
        let place = url.place();
        if let Some(file) = database::file_of(url.expose()) {
            if !self.can_be_used(&file, found) {
                return None;
            }
        } else if Dialect::of_url(url.expose()).is_sqlite() {
            found.warn(
                check,
                "is only in memory",
                format!("give {setting} a file: what is cached ends with the process"),
            );
            return None;
        }
        let options = Options {
            access: Access::ReadOnly,
            application_name: "userdata doctor".to_owned(),
            max_connections: 1,
            acquire_timeout: REACH_MAX,
            statement_timeout: REACH_MAX,
            pooler,
        };
        match Pool::connect(url.expose(), &options).await {
            Ok(db) => Some(db),
            Err(ConnectError::Pooler(refusal)) => {
                found.fail(check, format!("{place}: {refusal}"), refusal.remedy(pooler_setting));
                None
            }
            Err(ConnectError::Database(error)) => {
                let error = with_causes(&error);
                let who = if written { "role that may write its tables" } else { "role that may read the tables" };
                found.fail(
                    check,
                    format!("{place} cannot be reached: {error}"),
                    format!("start it, or correct {setting}: host, port, database, and a {who}"),
                );
                None
            }
        }
    }

    fn can_be_used(self, file: &Path, found: &mut Findings) -> bool {
        let Self { check, database: DatabaseSetting { setting, .. }, written } = self;
        let (name, directory) = (file.display(), file.parent().filter(|path| *path != Path::new("")));
        let directory = directory.unwrap_or(Path::new("."));
        // With the journal and the shared memory of connections.
        let rights = if written { Rights::READ_OK | Rights::WRITE_OK } else { Rights::READ_OK };
        if file.exists() {
            let refused = [file, directory].into_iter().find(|path| access(*path, rights).is_err());
            if let Some(path) = refused {
                found.fail(
                    check,
                    format!("{} cannot be read and written by this user", path.display()),
                    format!("give it to the user that runs `serve`, or correct {setting}"),
                );
            }
            return refused.is_none();
        }
        if !written {
            found.fail(
                check,
                format!("{name} does not exist"),
                format!("correct {setting}: it has to name the planning application's file, which is only read"),
            );
            return false;
        }
        let nearest = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        if access(nearest, rights).is_err() {
            found.fail(
                check,
                format!("{name} does not exist, and cannot be created in {}", nearest.display()),
                format!("let the user that runs `serve` write there, or correct {setting}"),
            );
        } else {
            found.warn(
                check,
                format!("{name} does not exist"),
                format!("if this is no first start, correct {setting}; else `userdata serve` creates it"),
            );
        }
        false
    }
}

/// Missing privileges of the role on tables. None for an embedded database, which has no privileges.
pub(super) async fn without_right<'t>(
    db: &Pool,
    tables: impl IntoIterator<Item = &'t str>,
    rights: &[&str],
) -> Result<Vec<String>, DbErr> {
    let mut without = Vec::new();
    if Dialect::of(db).is_sqlite() {
        return Ok(without);
    }
    for table in tables {
        for right in rights {
            // NULL if the table does not exist.
            let sql = "SELECT has_table_privilege(to_regclass($1), $2) AS granted";
            let row = one(db, sql, [table.into(), (*right).into()]).await?;
            if row.and_then(|row| row.try_get::<Option<bool>>("", "granted").ok().flatten()) == Some(false) {
                without.push(format!("{right} on {table}"));
            }
        }
    }
    Ok(without)
}

/// Columns that the role cannot read; privileges can be granted for single columns.
pub(super) async fn unreadable(
    db: &Pool,
    columns: impl IntoIterator<Item = (&'static str, Vec<&'static str>)>,
) -> Result<Vec<String>, DbErr> {
    let mut unreadable = Vec::new();
    if Dialect::of(db).is_sqlite() {
        return Ok(unreadable);
    }
    for (table, columns) in columns {
        // Missing columns are another finding. Not every `id` is read.
        let sql = "SELECT CAST(attname AS TEXT) AS name, has_column_privilege(attrelid, attnum, 'SELECT') AS granted \
             FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
             AND attname = ANY(string_to_array($2, ',')) AND attname <> 'id'";
        let rows = all(db, sql, [table.into(), columns.join(",").into()]).await?;
        let mut refused = Vec::new();
        for row in &rows {
            if !row.try_get::<bool>("", "granted")? {
                refused.push(format!("{table}.{}", row.try_get::<String>("", "name")?));
            }
        }
        match refused.len() {
            all if all == rows.len() && all > 0 => unreadable.push(table.to_owned()),
            _ => unreadable.extend(refused),
        }
    }
    Ok(unreadable)
}

async fn all(
    db: &Pool,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<sea_orm::QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await
}

pub(super) async fn one(
    db: &Pool,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<sea_orm::QueryResult>, DbErr> {
    Ok(all(db, sql, values).await?.into_iter().next())
}

/// A statement failed although the database was reached.
pub(super) fn failed(check: &'static str, error: &DbErr, found: &mut Findings) {
    found.fail(check, with_causes(error), HANGS);
}
