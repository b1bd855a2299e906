//! Stands in for `table.rs` in Shuttle's tests: the statements on `load_lease`, in memory.

use sea_orm::DbErr;

use super::work::{Claimant, Grant, LeaseRow, SharedWork};
use crate::{
    database::{
        Pool,
        in_memory::{Flaw, LeaseRecord, MemoryDatabase, Tables},
    },
    sync::shuttled::time,
};

#[derive(Clone, Debug)]
pub(super) struct LeaseTable {
    database: MemoryDatabase,
}

impl LeaseTable {
    pub(super) fn of(database: MemoryDatabase) -> Self {
        Self { database }
    }

    pub(super) fn new(_: Pool) -> Self {
        panic!("a build for Shuttle's tests has no database")
    }

    pub(super) async fn take(&self, claimant: &Claimant, work: &SharedWork) -> Result<Option<Grant>, DbErr> {
        let (claimant, last_invalidation, any) =
            (claimant.clone(), work.last_invalidation, self.database.has(Flaw::TakesFromTheLiving));
        self.database
            .execute(move |tables| {
                let free = tables.leases.get(&claimant.key).is_none_or(|row| row.read_position < last_invalidation);
                (free || any).then(|| taken(tables, &claimant))
            })
            .await
    }

    pub(super) async fn take_over(
        &self,
        claimant: &Claimant,
        _: &SharedWork,
        holder: &str,
        heartbeat: i64,
    ) -> Result<Option<Grant>, DbErr> {
        let (claimant, holder, blindly) =
            (claimant.clone(), holder.to_owned(), self.database.has(Flaw::TakesOverBlindly));
        self.database
            .execute(move |tables| {
                let row = tables.leases.get(&claimant.key)?;
                if !blindly && (row.holder != holder || row.heartbeat != heartbeat) {
                    return None;
                }
                tables.taken_over.push((row.clone(), time::now()));
                Some(taken(tables, &claimant))
            })
            .await
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<LeaseRow>, DbErr> {
        let key = key.to_owned();
        self.database.execute(move |tables| tables.leases.get(&key).map(row)).await
    }

    pub(super) async fn all(&self, rows_max: u64) -> Result<Vec<(String, LeaseRow)>, DbErr> {
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let all = move |tables: &mut Tables| {
            tables.leases.iter().take(rows_max).map(|(key, found)| (key.clone(), row(found))).collect()
        };
        self.database.execute(all).await
    }

    pub(super) async fn heartbeat(&self, claimant: &Claimant) -> Result<bool, DbErr> {
        self.change(claimant, |row| row.heartbeat += 1).await
    }

    pub(super) async fn store_outcome(&self, claimant: &Claimant, outcome: String) -> Result<bool, DbErr> {
        self.change(claimant, |row| row.outcome = Some(outcome)).await
    }

    pub(super) async fn release(&self, claimant: &Claimant) -> Result<(), DbErr> {
        let (claimant, all) = (claimant.clone(), self.database.has(Flaw::ReleasesAll));
        self.database
            .execute(move |tables| {
                if tables.leases.get(&claimant.key).is_some_and(|row| all || holds(&claimant, row)) {
                    tables.leases.remove(&claimant.key);
                }
            })
            .await
    }

    pub(super) async fn delete(&self, key: &str, holder: &str, heartbeat: i64) -> Result<u64, DbErr> {
        let (key, holder) = (key.to_owned(), holder.to_owned());
        self.database
            .execute(move |tables| {
                let found =
                    tables.leases.get(&key).is_some_and(|row| row.holder == holder && row.heartbeat == heartbeat);
                if found {
                    tables.swept.extend(tables.leases.remove(&key).map(|row| (row, time::now())));
                }
                u64::from(found)
            })
            .await
    }

    // Here each instance holds one lease.
    pub(super) async fn release_ai_calls_of(&self, _: &str) -> Result<u64, DbErr> {
        Ok(0)
    }

    pub(super) async fn release_predecessors(&self, _: &str, _: &str) -> Result<u64, DbErr> {
        Ok(0)
    }

    async fn change(
        &self,
        claimant: &Claimant,
        change: impl FnOnce(&mut LeaseRecord) + Send + 'static,
    ) -> Result<bool, DbErr> {
        let (claimant, for_all) = (claimant.clone(), self.database.has(Flaw::HeartbeatsForAll));
        self.database
            .execute(move |tables| {
                let Some(row) = tables.leases.get_mut(&claimant.key).filter(|row| for_all || holds(&claimant, row))
                else {
                    return false;
                };
                change(row);
                row.moved_at = time::now();
                true
            })
            .await
    }
}

fn holds(claimant: &Claimant, row: &LeaseRecord) -> bool {
    row.holder == claimant.holder && row.read_position == claimant.read_position
}

fn taken(tables: &mut Tables, claimant: &Claimant) -> Grant {
    let row = LeaseRecord {
        holder: claimant.holder.clone(),
        read_position: claimant.read_position,
        heartbeat: 0,
        outcome: None,
        moved_at: time::now(),
    };
    tables.leases.insert(claimant.key.clone(), row);
    Grant { done: tables.done.contains(&claimant.key), now_ms: now_ms() }
}

fn row(found: &LeaseRecord) -> LeaseRow {
    let LeaseRecord { holder, read_position, heartbeat, outcome, .. } = found.clone();
    LeaseRow { holder, instance: String::new(), read_position, heartbeat, outcome, now_ms: now_ms() }
}

fn now_ms() -> i64 {
    time::now().as_millis().try_into().unwrap_or(i64::MAX)
}
