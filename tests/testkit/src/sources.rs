//! Source rows of a test's own, which it can change and, on PostgreSQL, hold.
//!
//! A strategy's name is a count: what an answer was made from can be read back from it.

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction, Statement, TransactionTrait};
use userdata_migrations::{Tables, up};

use crate::{
    database::{Kind, TestDatabase, database, execute},
    wait_for,
};

/// The tables of the sources, and a pool that may write them.
#[derive(Debug)]
pub struct Sources {
    pub database: TestDatabase,
    pub db: DatabaseConnection,
}

/// Only the strategy source reads it, so that holding it holds that source.
pub const OF_STRATEGY: &str = "strategy_activation_status";

/// Empty tables, the cache's beside them.
pub async fn sources(kind: Kind) -> Sources {
    sources_in(database(kind).await).await
}

/// The same in a database that is empty.
pub async fn sources_in(database: TestDatabase) -> Sources {
    let db = database.connect().await;
    up(&db, Tables::CacheAndSources).await.unwrap();
    Sources { database, db }
}

impl Sources {
    /// A user with these strategies, of which the first is the active one; all their counts are 0.
    pub async fn add_user(&self, user: &str, strategies: &[i32]) {
        self.run(&format!("INSERT INTO onboarding_sessions (user_id) VALUES ('{user}')")).await;
        for id in strategies {
            self.run(&format!(
                "INSERT INTO enhanced_content_strategies (id, user_id, name, industry) \
                 VALUES ({id}, '{user}', '0', 'technology')"
            ))
            .await;
        }
        if let Some(active) = strategies.first() {
            self.run(&format!(
                "INSERT INTO strategy_activation_status (strategy_id, user_id, activation_date, status) \
                 VALUES ({active}, 1, '2025-01-01 00:00:00', 'active')"
            ))
            .await;
        }
    }

    /// Makes a strategy the active one.
    pub async fn activate(&self, strategy: i32) {
        self.run(&format!("UPDATE strategy_activation_status SET strategy_id = {strategy}")).await;
    }

    /// Sets a strategy's count.
    pub async fn write(&self, strategy: i32, count: i64) {
        write(&self.db, strategy, count).await;
    }

    /// A change that its writer takes back.
    pub async fn rolled_back(&self, sql: &str) {
        let transaction = self.db.begin().await.unwrap();
        transaction.execute_unprepared(sql).await.unwrap();
        transaction.rollback().await.unwrap();
    }

    /// From now on readers of this table wait. What they will see is decided when they ask:
    /// a source's snapshot of the database is older than its wait for the lock.
    pub async fn hold(&self, table: &'static str) -> Hold {
        assert_eq!(self.database.kind(), Kind::Postgres, "in SQLite nothing keeps readers waiting");
        let holder = self.db.begin().await.unwrap();
        holder.execute_unprepared(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        Hold { holder, watcher: self.db.clone(), table }
    }

    async fn run(&self, sql: &str) {
        execute(&self.db, sql).await;
    }
}

/// Sets a strategy's count, for who has a pool only.
pub async fn write(db: &DatabaseConnection, strategy: i32, count: i64) {
    execute(db, &format!("UPDATE enhanced_content_strategies SET name = '{count}' WHERE id = {strategy}")).await;
}

/// From now on each statement that reads the table fails. Without the table it would be answered as if it were empty.
pub async fn break_table(db: &impl ConnectionTrait, table: &str) {
    let fails = match db.get_database_backend() {
        DatabaseBackend::Sqlite => "json('{')",
        _ => "(SELECT 1 / 0) = 1",
    };
    let rename = format!("ALTER TABLE {table} RENAME TO {table}_whole");
    let view = format!("CREATE VIEW {table} AS SELECT * FROM {table}_whole WHERE {fails}");
    run(db, &format!("{rename}; {view}")).await;
}

/// The table can be read as before.
pub async fn mend_table(db: &impl ConnectionTrait, table: &str) {
    // A connection of SQLite's learns of others' changes of the schema when it reads, not when it drops something.
    let look = match db.get_database_backend() {
        DatabaseBackend::Sqlite => "SELECT COUNT(*) FROM sqlite_master; ",
        _ => "",
    };
    run(db, &format!("{look}DROP VIEW {table}; ALTER TABLE {table}_whole RENAME TO {table}")).await;
}

async fn run(db: &impl ConnectionTrait, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// A held table. Dropping this lets it go, too.
#[derive(Debug)]
pub struct Hold {
    holder: DatabaseTransaction,
    watcher: DatabaseConnection,
    table: &'static str,
}

impl Hold {
    /// Waits until this many statements wait for the table.
    pub async fn is_waited_for_by(&self, statements: i64) {
        let sql = format!(
            "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = '{}'::regclass \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            self.table
        );
        wait_for(&format!("{statements} statements to wait for {}", self.table), async || {
            (count(&self.watcher, &sql).await == statements).then_some(())
        })
        .await;
    }

    /// Lets the readers go on; each further statement on the table fails.
    pub async fn break_table(self) {
        break_table(&self.holder, self.table).await;
        self.holder.commit().await.unwrap();
    }

    /// Changes something in the transaction that holds it.
    pub async fn run(&self, sql: &str) {
        run(&self.holder, sql).await;
    }

    /// Lets the readers go on, with what was changed.
    pub async fn commit(self) {
        self.holder.commit().await.unwrap();
    }

    /// Lets the readers go on.
    pub async fn release(self) {
        self.holder.rollback().await.unwrap();
    }
}

/// A statement's only number.
pub async fn count(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}
