//! Finds a master key that has the name of the one in use and is another key. Everything that is stored would be
//! unreadable, and the keys that are made from then on would be lost with the next correction of the file.

use sea_orm::DbErr;

use super::{key_table::KeyTable, master_keys::MasterKeys};
use crate::database::Pool;

/// Keys of users that are tried for each master key. One alone may have been changed or moved, which costs its user only.
const TRIED_MAX: u64 = 5;

/// The names of the master keys that unwrap none of the keys that they should. A name without keys is not among them.
pub async fn wrong_master_keys(pool: &Pool, masters: &MasterKeys) -> Result<Vec<String>, DbErr> {
    let (table, mut wrong) = (KeyTable::new(pool.clone()), Vec::new());
    for name in masters.names() {
        let rows = table.wrapped_by(name, TRIED_MAX).await?;
        if !rows.is_empty() && rows.iter().all(|(holder, row)| masters.unwrap(holder, row).is_err()) {
            wrong.push(name.to_owned());
        }
    }
    Ok(wrong)
}
