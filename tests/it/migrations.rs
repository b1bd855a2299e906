//! The tables: created once, by the first instance; never over another application's.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TransactionTrait};
use userdata_migrations::{MigrationError, Tables, down, status, up};

use testkit::database::{BOTH, Kind, database};

const OURS: [&str; 6] = [
    "ai_response_cache",
    "change_feed",
    "comprehensive_user_data_cache",
    "invalidation_log",
    "invalidation_log_head",
    "load_lease",
];
const SOURCES: [&str; 20] = [
    "calendar_events",
    "competitor_analyses",
    "content_analytics",
    "content_gap_analyses",
    "content_recommendations",
    "content_strategies",
    "deep_competitor_analysis_execution_logs",
    "deep_competitor_analysis_tasks",
    "enhanced_content_strategies",
    "invalidation_outbox",
    "invalidation_outbox_consumer",
    "invalidation_outbox_state",
    "onboarding_sessions",
    "persona_data",
    "platform_integrations",
    "research_preferences",
    "seo_page_audits",
    "strategy_activation_status",
    "strategy_performance_metrics",
    "website_analyses",
];

/// With the rounds of the change feed, which SQLite does not need.
fn ours(kind: Kind) -> BTreeSet<String> {
    let rounds = (kind == Kind::Postgres).then_some("change_feed_round");
    OURS.into_iter().chain(rounds).map(str::to_owned).collect()
}

/// One text column of a query's rows.
async fn texts(db: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

async fn tables(db: &DatabaseConnection, kind: Kind) -> BTreeSet<String> {
    let sql = match kind {
        Kind::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
        Kind::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'",
    };
    let all = texts(db, sql).await;
    all.into_iter().filter(|table| !table.ends_with("_migrations")).collect()
}

async fn indexes(db: &DatabaseConnection, kind: Kind) -> BTreeSet<String> {
    let sql = match kind {
        Kind::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
        Kind::Postgres => {
            "SELECT CAST(indexname AS TEXT) FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey'"
        }
    };
    texts(db, sql).await.into_iter().collect()
}

/// `table.column type null`, in the order of creation.
async fn columns(db: &DatabaseConnection, kind: Kind, table: &str) -> Vec<String> {
    let sql = match kind {
        Kind::Sqlite => format!(
            "SELECT name || ' ' || type || CASE WHEN \"notnull\" OR pk THEN '' ELSE ' NULL' END FROM pragma_table_info('{table}')"
        ),
        Kind::Postgres => format!(
            "SELECT attname || ' ' || upper(format_type(atttypid, atttypmod)) || CASE WHEN attnotnull THEN '' ELSE ' NULL' END \
             FROM pg_attribute WHERE attrelid = to_regclass('{table}') AND attnum > 0 ORDER BY attnum"
        ),
    };
    texts(db, &sql).await
}

#[tokio::test]
async fn up_creates_everything_once_and_down_undoes_it() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        let names = |states: Vec<userdata_migrations::MigrationState>, applied: bool| {
            states.into_iter().filter(|state| state.applied == applied).map(|state| state.name).collect::<Vec<_>>()
        };

        let all = names(status(&db, Tables::CacheAndSources).await.unwrap(), false);
        assert_eq!(all, ["m0001_initial", "s0001_initial"], "{kind:?}: all pending");
        assert_eq!(tables(&db, kind).await, BTreeSet::new(), "{kind:?}: status creates nothing");

        assert_eq!(up(&db, Tables::Cache).await.unwrap(), all[..1], "{kind:?}");
        assert_eq!(tables(&db, kind).await, ours(kind), "{kind:?}");
        assert_eq!(up(&db, Tables::CacheAndSources).await.unwrap(), all[1..], "{kind:?}");
        assert_eq!(
            tables(&db, kind).await,
            ours(kind).into_iter().chain(SOURCES.map(str::to_owned)).collect(),
            "{kind:?}"
        );
        assert_eq!(names(status(&db, Tables::CacheAndSources).await.unwrap(), true), all, "{kind:?}");
        assert_eq!(up(&db, Tables::CacheAndSources).await.unwrap(), [""; 0], "{kind:?}: again, nothing");

        let mut newest_first = all.clone();
        newest_first.reverse();
        assert_eq!(down(&db, Tables::CacheAndSources, 1).await.unwrap(), newest_first[..1], "{kind:?}");
        assert_eq!(tables(&db, kind).await, ours(kind), "{kind:?}");
        assert_eq!(down(&db, Tables::CacheAndSources, 99).await.unwrap(), newest_first[1..], "{kind:?}");
        assert_eq!(tables(&db, kind).await, BTreeSet::new(), "{kind:?}");
    }
}

#[tokio::test]
async fn columns_and_indexes_are_as_designed() {
    let cache = [
        ("id", "BIGINT", "INTEGER"),
        ("user_id", "CHARACTER VARYING(255)", "VARCHAR(255)"),
        ("strategy_id", "BIGINT NULL", "BIGINT NULL"),
        ("data_hash", "CHARACTER VARYING(64)", "VARCHAR(64)"),
        ("comprehensive_data", "JSON", "JSON"),
        ("created_at", "TIMESTAMP WITHOUT TIME ZONE", "DATETIME"),
        ("expires_at", "TIMESTAMP WITHOUT TIME ZONE", "DATETIME"),
        ("last_accessed", "TIMESTAMP WITHOUT TIME ZONE", "DATETIME"),
        ("access_count", "BIGINT", "BIGINT"),
        ("strategy_key", "BIGINT", "BIGINT"),
        ("read_position", "BIGINT", "BIGINT"),
        ("as_of", "TIMESTAMP WITHOUT TIME ZONE", "DATETIME"),
        ("log_epoch", "CHARACTER VARYING(72)", "VARCHAR(72)"),
        ("sections", "JSON", "JSON"),
        ("complete", "BOOLEAN", "BOOLEAN"),
        ("format", "INTEGER", "INTEGER"),
    ];
    let mut index_names = Vec::new();
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        up(&db, Tables::CacheAndSources).await.unwrap();

        let expected = cache.map(|(name, postgres, sqlite)| {
            format!("{name} {}", if kind == Kind::Postgres { postgres } else { sqlite })
        });
        assert_eq!(columns(&db, kind, "comprehensive_user_data_cache").await, expected, "{kind:?}");

        let mut shapes = Vec::new();
        // What was read of the outbox is a snapshot on PostgreSQL, and an id on SQLite.
        let is_alike = |table: &&str| !["invalidation_outbox", "invalidation_outbox_consumer"].contains(table);
        for table in SOURCES.into_iter().chain(OURS).filter(is_alike) {
            // Names and nullability are the same on both; types are each database's own.
            let columns = columns(&db, kind, table).await;
            assert!(!columns.is_empty(), "{kind:?} {table}");
            shapes.push(
                columns
                    .into_iter()
                    .map(|column| {
                        format!("{table}.{} {}", column.split(' ').next().unwrap(), column.ends_with(" NULL"))
                    })
                    .collect::<Vec<_>>(),
            );
        }
        index_names.push((shapes, indexes(&db, kind).await));
    }
    let ours = [
        "uq_cache_user_strategy_hash",
        "ix_cache_expires_at",
        "ix_cache_access",
        "ix_cache_in_clear",
        "ix_ai_response_cache_user_id",
        "ix_ai_response_cache_last_used_at",
    ];
    let (shapes, indexes) = &index_names[0];
    assert!(ours.iter().all(|index| indexes.contains(*index)), "{indexes:?}");
    assert_eq!(
        indexes.len(),
        ours.len() + 18 - 1 + 2,
        "one a source table, two for the calendar and for analytics, none for the outbox: {indexes:?}"
    );
    let (postgres_shapes, postgres_indexes) = &index_names[1];
    assert_eq!(shapes, postgres_shapes);
    // The unique constraint of page audits has a name on PostgreSQL only, where alone the outbox is read by transaction.
    let only_there = ["uq_seo_page_audits_user_page", "invalidation_outbox_xid"];
    let named: BTreeSet<String> =
        postgres_indexes.iter().filter(|index| !only_there.contains(&index.as_str())).cloned().collect();
    assert_eq!(indexes, &named);
}

#[tokio::test]
async fn the_invalidation_log_begins_with_an_epoch_of_its_own() {
    let mut epochs = BTreeSet::new();
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        up(&db, Tables::Cache).await.unwrap();
        let head = texts(
            &db,
            "SELECT id || ' ' || position || ' ' || low_watermark || ' ' || lease_ms FROM invalidation_log_head",
        )
        .await;
        assert_eq!(head, ["1 0 0 500"], "{kind:?}");
        let epoch = texts(&db, "SELECT epoch FROM invalidation_log_head").await.remove(0);
        let uuid = uuid::Uuid::parse_str(&epoch).unwrap();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (4, uuid::Variant::RFC4122), "{kind:?} {epoch}");
        assert_eq!(epoch, uuid.to_string(), "{kind:?}: lower case, with hyphens");
        epochs.insert(epoch);
        let second = "INSERT INTO invalidation_log_head (id, epoch, position, low_watermark, lease_ms) VALUES (2, 'x', 0, 0, 500)";
        assert!(db.execute_unprepared(second).await.is_err(), "{kind:?}: one row");
    }
    assert_eq!(epochs.len(), 2);
}

#[tokio::test]
async fn a_foreign_table_of_the_same_name_is_refused_and_left_alone() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        db.execute_unprepared("CREATE TABLE comprehensive_user_data_cache (id INTEGER PRIMARY KEY, user_id INTEGER)")
            .await
            .unwrap();
        db.execute_unprepared("INSERT INTO comprehensive_user_data_cache (id, user_id) VALUES (7, 8)").await.unwrap();

        let refused = up(&db, Tables::CacheAndSources).await.unwrap_err();
        assert!(matches!(refused, MigrationError::ForeignTable), "{kind:?}: {refused}");
        assert!(refused.to_string().contains("no column strategy_key"), "{refused}");
        assert_eq!(tables(&db, kind).await, BTreeSet::from(["comprehensive_user_data_cache".to_owned()]), "{kind:?}");
        let rows = texts(&db, "SELECT CAST(user_id AS TEXT) FROM comprehensive_user_data_cache WHERE id = 7").await;
        assert_eq!(rows, ["8"], "{kind:?}");
    }
}

#[tokio::test]
async fn a_database_from_before_the_first_release_is_refused_and_left_alone() {
    let record = "CREATE TABLE userdata_migrations (version VARCHAR(255) PRIMARY KEY, applied_at BIGINT NOT NULL); \
                  INSERT INTO userdata_migrations VALUES ('m0001_snapshots', 0)";
    let sources = record.replace("userdata_migrations", "userdata_source_migrations").replace("m0001", "s0001");
    let head = "CREATE TABLE fence_head (id INTEGER PRIMARY KEY)";
    for kind in BOTH {
        for (old, found) in
            [(head, "fence_head"), (record, "userdata_migrations"), (&*sources, "userdata_source_migrations")]
        {
            let database = database(kind).await;
            let db = database.connect().await;
            db.execute_unprepared(old).await.unwrap();
            let before = tables(&db, kind).await;
            let refused = [
                up(&db, Tables::CacheAndSources).await.unwrap_err(),
                down(&db, Tables::CacheAndSources, 1).await.unwrap_err(),
                status(&db, Tables::CacheAndSources).await.unwrap_err(),
            ];
            for error in refused {
                let line = error.to_string();
                assert!(line.contains(&format!("before 0.1.0 (found {found})")), "{kind:?}: {line}");
                assert!(line.contains("use an empty database") && line.contains("`userdata migrate up`"), "{line}");
            }
            assert_eq!(tables(&db, kind).await, before, "{kind:?} {found}");
        }
    }
}

#[tokio::test]
async fn processes_that_migrate_at_once_do_not_collide() {
    for kind in BOTH {
        let database = database(kind).await;
        // A pool each, as processes have.
        let pools = futures::future::join_all((0..4).map(|_| database.connect())).await;
        let runs = futures::future::join_all(pools.iter().map(|db| up(db, Tables::CacheAndSources))).await;
        let mut applied: Vec<usize> = runs.into_iter().map(|run| run.unwrap().len()).collect();
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, 0, 2], "{kind:?}: one did it all, the others found it done");
    }
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        // The last of our tables cannot be created.
        db.execute_unprepared("CREATE TABLE load_lease (x INTEGER)").await.unwrap();
        up(&db, Tables::Cache).await.unwrap_err();
        assert_eq!(tables(&db, kind).await, BTreeSet::from(["load_lease".to_owned()]), "{kind:?}");
        db.execute_unprepared("DROP TABLE load_lease").await.unwrap();
        assert_eq!(up(&db, Tables::Cache).await.unwrap().len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_database() {
    for kind in BOTH {
        let database = database(kind).await;
        let db = database.connect().await;
        up(&db, Tables::Cache).await.unwrap();
        db.execute_unprepared("INSERT INTO userdata_migrations (version, applied_at) VALUES ('m9999_later', 0)")
            .await
            .unwrap();

        assert_eq!(up(&db, Tables::Cache).await.unwrap(), [""; 0], "{kind:?}");
        let states = status(&db, Tables::Cache).await.unwrap();
        assert_eq!(states.last().map(|state| (state.name.as_str(), state.applied)), Some(("m9999_later", true)));
        let error = down(&db, Tables::Cache, 1).await.unwrap_err();
        assert!(format!("{error:?}").contains("newer version"), "{error:?}");
        assert_eq!(tables(&db, kind).await, ours(kind), "{kind:?}");
    }
}

#[tokio::test]
async fn the_sources_pool_cannot_write() {
    for kind in BOTH {
        let database = database(kind).await;
        up(&database.connect().await, Tables::CacheAndSources).await.unwrap();
        let read_only = database.connect_read_only().await;
        let insert = "INSERT INTO onboarding_sessions (id, user_id) VALUES (1, '1')";
        assert!(read_only.execute_unprepared(insert).await.is_err(), "{kind:?}");
        let transaction = read_only.begin().await.unwrap();
        assert!(transaction.execute_unprepared(insert).await.is_err(), "{kind:?}: nor in a transaction");
    }
}
