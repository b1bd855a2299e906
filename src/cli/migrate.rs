//! `userdata migrate`: the tables of the cache, and those of the key database if there is one.

use serde_json::json;
use userdata_migrations::Tables;

use super::{
    databases::{failed, not_migrated, open, open_keys},
    failure::Failure,
    output::{Output, table},
    server_side::Migration,
};
use crate::{
    changes,
    config::Config,
    database::{Access, Dialect, Pool},
};

pub(super) async fn run(migration: Migration, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let database = open(config.cache_database(), Access::ReadWrite, config).await?;
    // In a database server, the tables of the sources belong to the planning application.
    let embedded = Dialect::of(&database).is_sqlite() && config.sources.database_url.is_none();
    let tables = if embedded { Tables::CacheAndSources } else { Tables::Cache };
    match migration {
        Migration::Up => {
            let mut applied = userdata_migrations::up(&database, tables).await.map_err(not_migrated)?;
            if let Some(keys) = key_database(config).await? {
                applied.extend(userdata_migrations::up(&keys, Tables::Keys).await.map_err(not_migrated)?);
            }
            output.say(&listed(&applied, "applied", "nothing to apply: the tables are up to date"))
        }
        Migration::Down { steps } => {
            if embedded {
                // The triggers write into a table that is dropped.
                changes::remove(&database).await.map_err(failed)?;
            }
            let undone = userdata_migrations::down(&database, tables, steps).await.map_err(not_migrated)?;
            output.say(&listed(&undone, "taken back", "nothing to take back"))
        }
        Migration::Status(of) => {
            let mut states = userdata_migrations::status(&database, tables).await.map_err(not_migrated)?;
            if let Some(keys) = key_database(config).await? {
                states.extend(userdata_migrations::status(&keys, Tables::Keys).await.map_err(not_migrated)?);
            }
            let rows: Vec<_> =
                states.iter().map(|state| json!({"name": state.name, "applied": state.applied})).collect();
            output.show(of.output, &rows, |_| {
                let word = |applied| if applied { "applied" } else { "missing" }.to_owned();
                table(["migration", "state"], states.iter().map(|state| [state.name.clone(), word(state.applied)]))
            })
        }
    }
}

/// Keys are never taken back: without them nothing that is encrypted could be read.
async fn key_database(config: &Config) -> Result<Option<Pool>, Failure> {
    let Some(named) = config.key_database() else { return Ok(None) };
    open_keys(named, Access::ReadWrite, config).await.map(Some)
}

fn listed(names: &[String], what: &str, nothing: &str) -> String {
    if names.is_empty() {
        return nothing.to_owned();
    }
    names.iter().map(|name| format!("{what} {name}")).collect::<Vec<_>>().join("\n")
}
