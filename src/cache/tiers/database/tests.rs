//! Each case runs on SQLite and on PostgreSQL: a fresh file, and one server whose tables are emptied in between.

use chrono::TimeDelta;
use sea_orm::DatabaseConnection;

use super::*;
use crate::{
    cache::{
        testing::{document, eventually, key, open_sqlite, partial, parts, postgres, sealed, snapshot, sqlite},
        tiers::{
            access_counts::AccessCounts,
            guard::{FAILURES_MAX, PAUSE},
        },
    },
    model::{Parameters, SectionSet, UserDataQuery},
    proto::{Kind, Struct},
};

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                let (_directory, connection) = super::sqlite().await;
                super::$case(super::tier(&connection)).await;
            })*
        }
        #[tokio::test]
        async fn on_postgres() {
            let (_server, connection) = postgres().await;
            $(
                connection.execute_unprepared("TRUNCATE comprehensive_user_data_cache, ai_response_cache").await.unwrap();
                $case(tier(&connection)).await;
            )*
            a_statement_that_hangs_costs_the_timeout_until_the_breaker_opens(connection.clone()).await;
            connection.close().await.unwrap();
        }
    };
}

cases!(
    what_was_put_is_found_again,
    an_expired_row_is_found_with_the_time_since,
    neither_older_nor_partial_replaces_newer_and_complete,
    a_replaced_row_keeps_its_accesses,
    garbage_is_a_counted_miss,
    removal_is_by_scope_and_position,
    access_counts_outlive_an_invalidation_and_no_purge,
    a_purge_deletes_rows_and_ai_responses,
    the_sweep_takes_what_is_old_and_cleanup_what_is_expired,
    accesses_are_added_and_listed,
    queries_without_parameters_are_recognized,
    access_counts_survive_a_failing_flush,
    a_missing_table_opens_the_breaker_and_a_probe_closes_it,
);

fn tier(connection: &DatabaseConnection) -> DatabaseTier {
    // Reading is not to fail on a machine that is busy with other tests.
    let config = config::DatabaseSettings {
        timeout: Duration::from_secs(5),
        sweep_batch: 3,
        ..config::DatabaseSettings::default()
    };
    DatabaseTier::new(connection.clone().into(), &config, Clock::system())
}

fn scope(user: &str, strategy: Option<i64>) -> Scope {
    let user = UserId::parse(user).unwrap();
    Scope { user, strategy: strategy.and_then(StrategyId::new), sections: SectionSet::ALL }
}

async fn run(tier: &DatabaseTier, sql: &str) {
    tier.pool.execute_unprepared(sql).await.unwrap();
}

async fn what_was_put_is_found_again(tier: DatabaseTier) {
    assert!(tier.get(&key("1", None)).await.unwrap().is_none());
    for snapshot in [snapshot("1", None, 3), partial("1", Some(7), 3), snapshot("usér 😀 '\"", Some(i64::MAX), 3)] {
        tier.put_by(None, &snapshot, 0).await.unwrap();
        let found = tier.get(&snapshot.key).await.unwrap().unwrap();
        assert_eq!(found.key, snapshot.key);
        assert_eq!(found.payload, snapshot.payload, "the same bytes, through JSON and back");
        assert_eq!(found.sections, snapshot.sections);
        assert_eq!((&found.epoch, found.as_of), (&snapshot.epoch, snapshot.as_of));
        assert_eq!(document(&found), document(&snapshot));
        let drift = (found.expires_at - snapshot.expires_at).abs();
        assert!(drift < TimeDelta::seconds(1), "{drift}");
    }
    let stats = tier.guard.stats();
    assert_eq!((stats.hits, stats.misses, stats.errors, stats.garbage), (3, 1, 0, 0));
    assert_eq!(tier.counts().await.unwrap(), RowCounts { total: 3, expired: 0 });
}

async fn an_expired_row_is_found_with_the_time_since(tier: DatabaseTier) {
    let expired = sealed("1", None, 3600, TimeDelta::minutes(-10), parts(5));
    tier.put_by(None, &expired, 0).await.unwrap();
    let found = tier.get(&expired.key).await.unwrap().unwrap();
    let drift = (found.expires_at - expired.expires_at).abs();
    assert!(drift < TimeDelta::seconds(1), "{drift}");
    assert_eq!(tier.counts().await.unwrap(), RowCounts { total: 1, expired: 1 });
}

async fn neither_older_nor_partial_replaces_newer_and_complete(tier: DatabaseTier) {
    let expired = sealed("1", None, 10, TimeDelta::milliseconds(-1), parts(5));
    let other_log = {
        let of = snapshot("1", None, 0);
        let parts = of.sections.iter().filter_map(|s| of.part(s.facts.section)).collect();
        Snapshot::seal(of.key.clone(), "another log".into(), of.as_of + TimeDelta::hours(1), of.expires_at, parts)
    };
    // Tags are 5.
    for (there, late, last_invalidation, replaces) in [
        (snapshot("1", None, 10), snapshot("1", None, 5), 0, true),
        (snapshot("1", None, 5), snapshot("1", None, 10), 5, false),
        (snapshot("1", None, 5), snapshot("1", None, 10), 9, true),
        // The wall clock has stepped back by 20 s and by a day.
        (snapshot("1", None, 0), read_at(6, 20), 0, true),
        (snapshot("1", None, 0), read_at(6, 86_400), 6, true),
        (read_at(6, 20), snapshot("1", None, 0), 0, false),
        (snapshot("1", None, 10), partial("1", None, 5), 0, false),
        (snapshot("1", None, 10), partial("1", None, 5), 5, false),
        (snapshot("1", None, 10), partial("1", None, 5), 6, true),
        (partial("1", None, 10), partial("1", None, 5), 0, true),
        (partial("1", None, 10), snapshot("1", None, 5), 0, true),
        (partial("1", None, 5), snapshot("1", None, 10), 0, false),
        (expired, partial("1", None, 5), 0, true),
        (other_log, partial("1", None, 10), 0, true),
    ] {
        run(&tier, "DELETE FROM comprehensive_user_data_cache").await;
        tier.put_by(None, &there, 0).await.unwrap();
        tier.put_by(None, &late, last_invalidation).await.unwrap();
        let kept = tier.get(&there.key).await.unwrap().unwrap();
        let expected = if replaces { &late } else { &there };
        assert_eq!((kept.as_of, kept.complete()), (expected.as_of, expected.complete()), "{last_invalidation}");
        assert_eq!(tier.counts().await.unwrap().total, 1);
    }
}

/// Read at this position of the log, so many seconds ago.
fn read_at(position: i64, age_s: i64) -> Snapshot {
    sealed("1", None, age_s, TimeDelta::hours(1), parts(position))
}

async fn a_replaced_row_keeps_its_accesses(tier: DatabaseTier) {
    tier.put_by(None, &snapshot("1", None, 10), 0).await.unwrap();
    tier.add_accesses(&[(key("1", None), 7, tier.clock.utc())]).await.unwrap();
    tier.put_by(None, &snapshot("1", None, 5), 0).await.unwrap();
    assert_eq!(tier.most_accessed(5).await.unwrap()[0].access_count, 7);
}

async fn garbage_is_a_counted_miss(tier: DatabaseTier) {
    let snapshot = snapshot("1", None, 10);
    let broken = [
        "format = 2",
        "comprehensive_data = '[]'",
        "comprehensive_data = '{\"user_id\": 5}'",
        // What is stored under a user is that user's.
        "comprehensive_data = '{\"user_id\": \"2\"}'",
        "as_of = '294000-01-01'",
        "as_of = 'infinity'",
        "expires_at = '294000-01-01'",
        "expires_at = 'infinity'",
        "sections = '{}'",
        "sections = '[]'",
        "sections = '[{\"section\": \"SECTION_DERIVED\"}]'",
    ];
    for change in broken {
        tier.put_by(None, &snapshot, i64::MAX).await.unwrap();
        run(&tier, &format!("UPDATE comprehensive_user_data_cache SET {change}")).await;
        let found = tier.get(&snapshot.key).await;
        assert!(matches!(found, Err(TierError::Garbage(_))), "{change}: {found:?}");
        tier.put_by(None, &snapshot, 0).await.unwrap();
        assert!(tier.get(&snapshot.key).await.unwrap().is_some(), "the next assembly heals it");
    }
    let stats = tier.guard.stats();
    assert_eq!((stats.garbage, stats.errors), (broken.len() as i64, 0));
    assert_eq!(stats.breaker_state, "closed", "garbage is no reason to leave the database alone");
}

async fn removal_is_by_scope_and_position(tier: DatabaseTier) {
    let keys = [key("1", None), key("1", Some(1)), key("1", Some(2)), key("2", None)];
    for (scope, below, left) in [
        (scope("1", None), 6, [false, false, false, true]),
        (scope("1", None), 5, [true, true, true, true]),
        (scope("1", Some(1)), 6, [false, false, true, true]),
        (scope("3", None), 6, [true, true, true, true]),
    ] {
        for (user, strategy) in [("1", None), ("1", Some(1)), ("1", Some(2)), ("2", None)] {
            tier.put_by(None, &snapshot(user, strategy, 0), 0).await.unwrap();
        }
        let removed = left.iter().filter(|left| !**left).count() as u64;
        assert_eq!(tier.remove(&scope, below).await.unwrap(), removed, "{scope:?}");
        for (key, left) in keys.iter().zip(left) {
            assert_eq!(tier.get(key).await.unwrap().is_some(), left, "{scope:?} {key:?}");
        }
    }
}

async fn access_counts_outlive_an_invalidation_and_no_purge(tier: DatabaseTier) {
    tier.put_by(None, &snapshot("1", None, 10), 0).await.unwrap();
    tier.add_accesses(&[(key("1", None), 7, tier.clock.utc())]).await.unwrap();
    assert_eq!(
        (tier.remove(&scope("1", None), 6).await.unwrap(), tier.remove(&scope("1", None), 7).await.unwrap()),
        (1, 0)
    );
    assert_eq!(tier.counts().await.unwrap(), RowCounts { total: 0, expired: 0 }, "there is no document");
    assert_eq!(tier.cleanup(None).await.unwrap(), 0);
    assert!(tier.get(&key("1", None)).await.unwrap().is_none());
    tier.add_accesses(&[(key("1", None), 1, tier.clock.utc())]).await.unwrap();
    assert_eq!(tier.most_accessed(5).await.unwrap()[0].access_count, 8);
    // Also by an instance that does not know the invalidation yet.
    tier.put_by(None, &snapshot("1", None, 20), 0).await.unwrap();
    assert_eq!(tier.most_accessed(5).await.unwrap()[0].access_count, 8);
    assert!(tier.get(&key("1", None)).await.unwrap().is_some());
    tier.remove(&scope("1", None), 6).await.unwrap();
    assert_eq!(
        tier.sweep(Duration::from_secs(3600), 10).await.unwrap(),
        0,
        "it is kept as long as an expired document"
    );
    assert_eq!(tier.purge(&scope("1", None)).await.unwrap(), 1);
    assert!(tier.most_accessed(5).await.unwrap().is_empty());
}

async fn a_purge_deletes_rows_and_ai_responses(tier: DatabaseTier) {
    for user in ["1", "2"] {
        tier.put_by(None, &snapshot(user, None, 0), 0).await.unwrap();
        tier.put_by(None, &snapshot(user, Some(1), 0), 0).await.unwrap();
        let response = format!(
            "INSERT INTO ai_response_cache VALUES \
             ('of {user}', '{user}', 'model', '1', '{{}}', NULL, NULL, '2025-01-01 00:00:00', '2025-01-01 00:00:00')"
        );
        run(&tier, &response).await;
    }
    assert_eq!(tier.purge(&scope("1", Some(9))).await.unwrap(), 1, "the entry without strategy");
    assert_eq!(responses(&tier).await, 1, "all of the user");
    assert_eq!(tier.purge(&scope("1", None)).await.unwrap(), 1);
    assert_eq!(responses(&tier).await, 1, "another user's");
    assert_eq!(tier.counts().await.unwrap().total, 2);
}

async fn responses(tier: &DatabaseTier) -> i64 {
    let count = tier.statements.dialect.statement("SELECT COUNT(*) AS n FROM ai_response_cache", []);
    tier.pool.query_one_raw(count).await.unwrap().unwrap().try_get("", "n").unwrap()
}

async fn the_sweep_takes_what_is_old_and_cleanup_what_is_expired(tier: DatabaseTier) {
    let rows = |strategies: std::ops::RangeInclusive<i64>, life| {
        strategies.map(move |n| sealed("1", Some(n), 0, life, parts(5)))
    };
    for snapshot in rows(1..=7, TimeDelta::minutes(-1)).chain(rows(8..=15, TimeDelta::hours(1))) {
        tier.put_by(None, &snapshot, 0).await.unwrap();
    }
    // Created just now: nothing is a day old, however expired it is.
    assert_eq!(tier.sweep(Duration::from_secs(24 * 3600), 3).await.unwrap(), 0);
    run(
        &tier,
        "UPDATE comprehensive_user_data_cache SET created_at = '2020-01-01 00:00:00.000000' WHERE strategy_key <= 4",
    )
    .await;
    assert_eq!(tier.sweep(Duration::from_secs(24 * 3600), 3).await.unwrap(), 4);
    assert_eq!(tier.counts().await.unwrap(), RowCounts { total: 11, expired: 3 });
    for snapshot in rows(1..=7, TimeDelta::minutes(-1)) {
        tier.put_by(None, &snapshot, 0).await.unwrap();
    }
    assert_eq!(tier.cleanup(Some(0)).await.unwrap(), 0);
    assert_eq!(tier.cleanup(Some(5)).await.unwrap(), 5);
    assert_eq!(tier.cleanup(None).await.unwrap(), 2);
    assert_eq!(tier.counts().await.unwrap(), RowCounts { total: 8, expired: 0 });
}

async fn accesses_are_added_and_listed(tier: DatabaseTier) {
    let clock = Clock::system();
    let counts = AccessCounts::new(100, clock.clone());
    for (strategy, accesses) in [(1, 3), (2, 5), (3, 0), (4, 3)] {
        tier.put_by(None, &snapshot("é\"1", Some(strategy), 0), 0).await.unwrap();
        (0..accesses).for_each(|_| counts.count(&key("é\"1", Some(strategy))));
        clock.advance(Duration::from_secs(60));
    }
    counts.count(&key("unknown", None));
    counts.flush(&tier).await.unwrap();
    counts.flush(&tier).await.unwrap();
    let listed = tier.most_accessed(3).await.unwrap();
    let order: Vec<_> = listed.iter().map(|entry| (entry.strategy_id, entry.access_count)).collect();
    assert_eq!(order, [(Some(2), 5), (Some(4), 3), (Some(1), 3)], "by count, then last access");
    assert_eq!((listed[0].user_id.as_str(), &listed[0].data_hash), ("é\"1", &key("é\"1", Some(2)).hash.to_string()));
    // An access of before, written late, does not turn the time back.
    let (before, at) = (listed[1].last_accessed, key("é\"1", Some(4)));
    tier.add_accesses(&[(at, 1, clock.utc() - TimeDelta::days(1))]).await.unwrap();
    let again = &tier.most_accessed(3).await.unwrap()[1];
    assert_eq!((again.access_count, again.last_accessed), (4, before));
}

async fn queries_without_parameters_are_recognized(tier: DatabaseTier) {
    let parameters = Struct { fields: [("depth".to_owned(), Kind::BoolValue(true).into())].into() };
    let user = UserId::parse("1").unwrap();
    let query = UserDataQuery::new(user.clone(), None, Parameters::parse(&parameters).unwrap());
    let now = tier.clock.utc();
    let with_parameters = Snapshot::seal(query.key().clone(), "log".into(), now, now + TimeDelta::hours(1), parts(1));
    for (snapshot, accesses) in [(with_parameters, 9), (snapshot("1", None, 0), 5), (snapshot("1", Some(3), 0), 7)] {
        tier.put_by(None, &snapshot, 0).await.unwrap();
        tier.add_accesses(&[(snapshot.key.clone(), accesses, now)]).await.unwrap();
    }
    let warmable = tier.most_accessed_without_parameters(10).await.unwrap();
    assert_eq!(warmable, [(user.clone(), StrategyId::new(3)), (user.clone(), None)]);
    assert_eq!(tier.most_accessed_without_parameters(1).await.unwrap(), [(user, StrategyId::new(3))]);
}

async fn access_counts_survive_a_failing_flush(tier: DatabaseTier) {
    let counts = AccessCounts::new(2, Clock::system());
    tier.put_by(None, &snapshot("1", None, 0), 0).await.unwrap();
    for user in ["1", "1", "2", "3", "4"] {
        counts.count(&key(user, None));
    }
    assert_eq!(counts.dropped(), 2, "two keys are held, the accesses of others are dropped");
    run(&tier, "ALTER TABLE comprehensive_user_data_cache RENAME TO elsewhere").await;
    assert!(counts.flush(&tier).await.is_err());
    counts.count(&key("1", None));
    run(&tier, "ALTER TABLE elsewhere RENAME TO comprehensive_user_data_cache").await;
    counts.flush(&tier).await.unwrap();
    assert_eq!(tier.most_accessed(1).await.unwrap()[0].access_count, 3);
    counts.count(&key("5", None));
    assert_eq!(counts.dropped(), 2, "a flush makes room");
}

async fn a_missing_table_opens_the_breaker_and_a_probe_closes_it(tier: DatabaseTier) {
    run(&tier, "ALTER TABLE comprehensive_user_data_cache RENAME TO elsewhere").await;
    for _ in 0..FAILURES_MAX {
        assert!(matches!(tier.get(&key("1", None)).await, Err(TierError::Database(_))));
    }
    assert!(matches!(tier.get(&key("1", None)).await, Err(TierError::Open)));
    assert!(matches!(tier.put_by(None, &snapshot("1", None, 0), 0).await, Err(TierError::Open)));
    assert!(
        tier.guard.stats().last_error.contains("comprehensive_user_data_cache"),
        "{}",
        tier.guard.stats().last_error
    );
    run(&tier, "ALTER TABLE elsewhere RENAME TO comprehensive_user_data_cache").await;
    tier.probe().await;
    assert_eq!(tier.guard.stats().breaker_state, "open", "not before the pause is over");
    tier.clock.advance(PAUSE);
    tier.probe().await;
    assert!(tier.get(&key("1", None)).await.unwrap().is_none());
}

/// On PostgreSQL only: a lock of another session keeps the statement waiting.
async fn a_statement_that_hangs_costs_the_timeout_until_the_breaker_opens(connection: DatabaseConnection) {
    let tier = DatabaseTier::new(connection.clone().into(), &config::DatabaseSettings::default(), Clock::system());
    let locking = sea_orm::TransactionTrait::begin(&connection).await.unwrap();
    locking.execute_unprepared("LOCK TABLE comprehensive_user_data_cache").await.unwrap();
    for _ in 0..FAILURES_MAX {
        let began = tier.clock.now();
        assert!(matches!(tier.get(&key("1", None)).await, Err(TierError::Timeout)));
        let took = tier.clock.now().since(began);
        // Some more: a busy machine is not what is tested, and what hangs does so for ever.
        assert!(took < tier.timeout + Duration::from_secs(5), "{took:?}");
    }
    assert!(matches!(tier.get(&key("1", None)).await, Err(TierError::Open)));
    locking.rollback().await.unwrap();
    tier.clock.advance(PAUSE);
    eventually("the probe closes it", || async {
        tier.clock.advance(PAUSE);
        tier.probe().await;
        tier.guard.breaker.is_closed()
    })
    .await;
    assert!(tier.get(&key("1", None)).await.is_ok());
}

/// The statements that requests and sweeps run use the indexes that the design made for them.
#[tokio::test]
async fn statements_use_their_indexes() {
    let (_directory, connection) = sqlite().await;
    let tier = tier(&connection);
    let statements = &tier.statements;
    for (statement, index) in [
        (statements.read(&key("1", None)), "uq_cache_user_strategy_hash"),
        (statements.delete_expired(Some(Duration::from_secs(1)), 1), "ix_cache_expires_at"),
        (statements.delete_expired(None, 1), "ix_cache_expires_at"),
        (statements.delete_in_clear(1), "ix_cache_in_clear"),
        (
            statements.delete_ai_responses_in_clear(Some(crate::clock::Clock::system().utc()), 1),
            "ix_ai_response_cache_last_used_at",
        ),
        (statements.add_accesses(&[]), "uq_cache_user_strategy_hash"),
    ] {
        let sql = statement.sql.clone();
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), ..statement };
        let rows = connection.query_all_raw(explain).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}: {plan:?}");
    }
}

#[tokio::test]
async fn a_write_waits_for_sqlites_other_writer() {
    let (directory, connection) = sqlite().await;
    let other = open_sqlite(&directory.path().join("cache.db")).await;
    let writing = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    writing.execute_unprepared("DELETE FROM ai_response_cache").await.unwrap();
    let tier = tier(&connection);
    let snapshot = snapshot("1", None, 0);
    // Longer than one busy_timeout, shorter than all tries.
    let release = async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        writing.commit().await.unwrap();
    };
    let (stored, ()) = tokio::join!(tier.put_by(None, &snapshot, 0), release);
    stored.unwrap();
    assert!(tier.get(&snapshot.key).await.unwrap().is_some());

    let _writing = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    _writing.execute_unprepared("DELETE FROM ai_response_cache").await.unwrap();
    let refused = tier.put_by(None, &snapshot, 0).await;
    assert!(matches!(&refused, Err(TierError::Database(error)) if database::is_busy(error)), "{refused:?}");
    assert!(tier.get(&snapshot.key).await.unwrap().is_some(), "reading goes on");
    assert_eq!(tier.guard.stats().breaker_state, "closed");
}
