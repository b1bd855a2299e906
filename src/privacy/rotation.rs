//! Replaces the master key: every user's key is unwrapped by the old one and wrapped by the first one of the file. No
//! stored value is touched. Safe to repeat, and while instances run.

use sea_orm::DbErr;

use super::{error::KeyError, key_table::KeyTable, master_keys::MasterKeys};
use crate::database::Pool;

/// Rows read at once.
const PAGE: u64 = 500;

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub wrapped: u64,
    /// Keys that could not be unwrapped, and why the last of them could not.
    pub failed: u64,
    pub last_failure: Option<String>,
}

/// How many keys a master key wraps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKeys {
    pub master: String,
    pub keys: i64,
}

/// Wraps all keys by the first master key.
pub async fn rotate(pool: &Pool, masters: &MasterKeys) -> Result<Rotated, DbErr> {
    let table = KeyTable::new(pool.clone());
    let (mut rotated, mut after) = (Rotated::default(), None);
    loop {
        let rows = table.wrapped_by_others(masters.first(), after, PAGE).await?;
        let Some((last, _)) = rows.last() else { return Ok(rotated) };
        after = Some(*last);
        for (holder, row) in &rows {
            match masters.unwrap(holder, row) {
                // A key that was deleted meanwhile stays deleted.
                Ok(key) => rotated.wrapped += u64::from(table.rewrap(holder, row, &masters.wrap(holder, &key)).await?),
                Err(error @ (KeyError::NoMasterKey(_) | KeyError::NotUnwrapped(_))) => {
                    rotated.failed += 1;
                    rotated.last_failure = Some(error.to_string());
                }
                Err(other) => return Err(DbErr::Custom(other.to_string())),
            }
        }
    }
}

/// How many keys each master key wraps, by its name.
pub async fn wrapped_keys(pool: &Pool) -> Result<Vec<WrappedKeys>, DbErr> {
    let counts = KeyTable::new(pool.clone()).count_by_master().await?;
    Ok(counts.into_iter().map(|(master, keys)| WrappedKeys { master, keys }).collect())
}
