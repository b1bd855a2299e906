//! Stands in for the product's file of this name: the statements on `load_lease`, in memory.

use super::Work;
use crate::{
    DbErr, chance,
    database::{Flaw, LeaseRecord, Pool, Tables},
    time,
};

#[derive(Clone, Debug)]
pub(super) struct Table {
    database: Pool,
}

#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) key: String,
    holder: String,
    s: i64,
}

impl Claim {
    pub(super) fn new(work: &Work) -> Self {
        Self { key: work.key.clone(), holder: format!("{:x}", chance::random::<i64>()), s: work.s }
    }

    fn row(&self) -> LeaseRecord {
        LeaseRecord { holder: self.holder.clone(), s: self.s, beat: 0, outcome: None, moved_at: time::now() }
    }

    fn holds(&self, row: &LeaseRecord) -> bool {
        row.holder == self.holder && row.s == self.s
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) done: bool,
    pub(super) now_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) holder: String,
    pub(super) s: i64,
    pub(super) beat: i64,
    pub(super) outcome: Option<String>,
    pub(super) now_ms: i64,
}

impl Table {
    pub(super) fn new(database: Pool) -> Self {
        Self { database }
    }

    pub(super) async fn take(&self, claim: &Claim, work: &Work) -> Result<Option<Taken>, DbErr> {
        let (claim, fence, any) = (claim.clone(), work.fence, self.database.has(Flaw::TakesFromTheLiving));
        self.database
            .execute(move |tables| {
                let free = tables.leases.get(&claim.key).is_none_or(|row| row.s < fence);
                (free || any).then(|| taken(tables, &claim))
            })
            .await
    }

    pub(super) async fn take_over(
        &self,
        claim: &Claim,
        _: &Work,
        holder: &str,
        beat: i64,
    ) -> Result<Option<Taken>, DbErr> {
        let (claim, holder, blindly) = (claim.clone(), holder.to_owned(), self.database.has(Flaw::TakesOverBlindly));
        self.database
            .execute(move |tables| {
                let row = tables.leases.get(&claim.key)?;
                if !blindly && (row.holder != holder || row.beat != beat) {
                    return None;
                }
                tables.taken_over.push((row.clone(), time::now()));
                Some(taken(tables, &claim))
            })
            .await
    }

    pub(super) async fn look(&self, key: &str) -> Result<Option<Row>, DbErr> {
        let key = key.to_owned();
        self.database.execute(move |tables| tables.leases.get(&key).map(row)).await
    }

    pub(super) async fn all(&self, rows_max: u64) -> Result<Vec<(String, Row)>, DbErr> {
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let all = move |tables: &mut Tables| {
            tables.leases.iter().take(rows_max).map(|(key, found)| (key.clone(), row(found))).collect()
        };
        self.database.execute(all).await
    }

    pub(super) async fn beat(&self, claim: &Claim) -> Result<bool, DbErr> {
        self.change(claim, |row| row.beat += 1).await
    }

    pub(super) async fn leave(&self, claim: &Claim, outcome: String) -> Result<bool, DbErr> {
        self.change(claim, |row| row.outcome = Some(outcome)).await
    }

    pub(super) async fn release(&self, claim: &Claim) -> Result<(), DbErr> {
        let (claim, all) = (claim.clone(), self.database.has(Flaw::ReleasesAll));
        self.database
            .execute(move |tables| {
                if tables.leases.get(&claim.key).is_some_and(|row| all || claim.holds(row)) {
                    tables.leases.remove(&claim.key);
                }
            })
            .await
    }

    pub(super) async fn delete(&self, key: &str, holder: &str, beat: i64) -> Result<u64, DbErr> {
        let (key, holder) = (key.to_owned(), holder.to_owned());
        self.database
            .execute(move |tables| {
                let found = tables.leases.get(&key).is_some_and(|row| row.holder == holder && row.beat == beat);
                if found {
                    tables.swept.extend(tables.leases.remove(&key).map(|row| (row, time::now())));
                }
                u64::from(found)
            })
            .await
    }

    async fn change(
        &self,
        claim: &Claim,
        change: impl FnOnce(&mut LeaseRecord) + Send + 'static,
    ) -> Result<bool, DbErr> {
        let (claim, for_all) = (claim.clone(), self.database.has(Flaw::BeatsForAll));
        self.database
            .execute(move |tables| {
                let Some(row) = tables.leases.get_mut(&claim.key).filter(|row| for_all || claim.holds(row)) else {
                    return false;
                };
                change(row);
                row.moved_at = time::now();
                true
            })
            .await
    }
}

fn taken(tables: &mut Tables, claim: &Claim) -> Taken {
    tables.leases.insert(claim.key.clone(), claim.row());
    Taken { done: tables.done.contains(&claim.key), now_ms: now_ms() }
}

fn row(found: &LeaseRecord) -> Row {
    let LeaseRecord { holder, s, beat, outcome, .. } = found.clone();
    Row { holder, s, beat, outcome, now_ms: now_ms() }
}

fn now_ms() -> i64 {
    time::now().as_millis().try_into().unwrap_or(i64::MAX)
}
