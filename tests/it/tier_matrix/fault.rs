//! What can break, how each break is made, and how it ends.
//!
//! Networks break in a proxy. A source breaks in its own table: all sources share one pool, so what
//! happens to the network happens to all of them, and only the table belongs to one.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};

use super::rig::Rig;
use testkit::proxy::{Network, Proxy};

use std::time::Duration;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The way to Redis.
    Redis,
    /// The way to the cache's database.
    Database,
    /// The way to the sources' database.
    Sources,
    /// The way to the AI endpoint.
    Ai,
    /// One source's table.
    Onboarding,
    Strategy,
    GapAnalysis,
    Performance,
    Recommendations,
}

/// How it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Connections are refused; a source's table is not there.
    Refuse,
    /// Connections are cut before each call; a source's connection ends in its statement.
    Reset,
    /// Nothing comes back, ever.
    Blackhole,
    /// Everything takes 500 ms.
    Slow,
    /// Bytes come one by one.
    Slice,
    /// Nonsense comes back; a source's columns hold nonsense.
    Garbage,
    /// SIGSTOP, and what waited is answered after it; a source's table is locked.
    Frozen,
}

/// Of a round trip.
const SLOW: Duration = Duration::from_millis(500);

impl Part {
    /// The table that only this source reads (gap analysis has none: performance reads it too), and
    /// what makes nonsense of its columns. None: it is the other end of a network.
    pub(crate) fn table(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Redis | Self::Database | Self::Sources | Self::Ai => None,
            Self::Onboarding => Some(("persona_data", "core_persona = '5', selected_platforms = '{\"a\": [[]]}'")),
            Self::Strategy => {
                Some(("strategy_activation_status", "status = chr(1) || 'ß', activation_date = 'infinity'"))
            }
            Self::GapAnalysis => Some(("calendar_events", "description = chr(1), scheduled_date = '-infinity'")),
            Self::Performance => Some(("content_analytics", "metrics = '[{\"views\": \"many\"}]'")),
            Self::Recommendations => Some(("content_recommendations", "target_keywords = '5', platforms = '{}'")),
        }
    }
}

/// A break that lasts until [`Break::end`].
pub(crate) struct Break {
    part: Part,
    fault: Fault,
    /// Holds a table.
    lock: Option<DatabaseTransaction>,
}

impl Break {
    pub(crate) async fn begin(rig: &Rig, part: Part, fault: Fault) -> Self {
        let mut lock = None;
        match part.table() {
            Some((table, nonsense)) => lock = break_table(rig.tables(), fault, table, nonsense).await,
            None if fault == Fault::Frozen => rig.freeze(part),
            None => network(rig.proxy(part), fault),
        }
        Self { part, fault, lock }
    }

    /// Cuts the connections again, if that is the fault.
    pub(crate) fn repeat(&self, rig: &Rig) {
        if self.fault == Fault::Reset && self.part.table().is_none() {
            rig.proxy(self.part).reset();
        }
    }

    pub(crate) async fn end(self, rig: &Rig) {
        match self.part.table() {
            Some((table, _)) => match self.lock {
                Some(lock) => lock.rollback().await.unwrap(),
                None => mend_table(rig.tables(), self.fault, table).await,
            },
            None if self.fault == Fault::Frozen => rig.thaw(self.part),
            None => rig.proxy(self.part).restore(),
        }
    }
}

fn network(proxy: &Proxy, fault: Fault) {
    match fault {
        Fault::Refuse => proxy.set(Network::Refuse),
        Fault::Reset => proxy.reset(),
        Fault::Blackhole => proxy.set(Network::Blackhole),
        // There and back.
        Fault::Slow => proxy.set(Network::Delay(SLOW / 2)),
        Fault::Slice => proxy.set(Network::Slice),
        Fault::Garbage => proxy.set(Network::Garbage),
        Fault::Frozen => unreachable!("not the network's"),
    }
}

async fn break_table(
    db: &DatabaseConnection,
    fault: Fault,
    table: &str,
    nonsense: &str,
) -> Option<DatabaseTransaction> {
    if fault == Fault::Frozen {
        let lock = db.begin().await.unwrap();
        run(&lock, &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
        return Some(lock);
    }
    // One transaction: a table that is away for a moment would be another fault.
    let change = db.begin().await.unwrap();
    run(&change, &format!("ALTER TABLE {table} RENAME TO {table}_whole")).await;
    match fault {
        Fault::Refuse => stand_in(&change, table, "1 / 0").await,
        Fault::Reset => stand_in(&change, table, "pg_terminate_backend(pg_backend_pid())").await,
        Fault::Blackhole => stand_in(&change, table, "pg_sleep(3600)").await,
        Fault::Slow => stand_in(&change, table, &format!("pg_sleep({})", SLOW.as_secs_f64())).await,
        Fault::Garbage => {
            run(&change, &format!("CREATE TABLE {table} AS TABLE {table}_whole")).await;
            run(&change, &format!("UPDATE {table} SET {nonsense}")).await;
        }
        Fault::Slice | Fault::Frozen => unreachable!("{fault:?} of a table"),
    }
    change.commit().await.unwrap();
    None
}

/// A view of the table for which PostgreSQL evaluates `first` once before it looks for rows: it does
/// not depend on them.
async fn stand_in(change: &DatabaseTransaction, table: &str, first: &str) {
    let view = format!("CREATE VIEW {table} AS SELECT * FROM {table}_whole WHERE (SELECT {first}) IS NOT NULL");
    run(change, &view).await;
}

async fn mend_table(db: &DatabaseConnection, fault: Fault, table: &str) {
    // A statement that still sleeps in the view keeps it from being dropped, and might do so for an hour.
    let sleepers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    run(db, sleepers).await;
    let change = db.begin().await.unwrap();
    match fault {
        Fault::Garbage => run(&change, &format!("DROP TABLE {table}")).await,
        _ => run(&change, &format!("DROP VIEW {table}")).await,
    }
    run(&change, &format!("ALTER TABLE {table}_whole RENAME TO {table}")).await;
    change.commit().await.unwrap();
}

async fn run(db: &impl ConnectionTrait, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}
