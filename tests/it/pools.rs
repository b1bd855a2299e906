//! What a pool does when statements or the network under it hang: no connection is lost for ever.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tokio::time::{Instant, timeout};
use userdata::{
    aggregate::sql::SourceDatabase,
    config::Pooler,
    database::{Access, Options, Pool},
};

use testkit::{
    database::{BOTH, Kind, TestDatabase, database},
    postgres::postgres,
    proxy::{Network, Proxy},
    sources::count,
    wait_for,
};
use userdata_migrations::{Tables, up};

const CONNECTIONS: u32 = 2;
/// Never reached: what ends earlier was ended by something else.
const LONG: Duration = Duration::from_secs(60);

/// Its own limits are never reached.
async fn pool(url: &str) -> Pool {
    limited(url, LONG).await
}

async fn limited(url: &str, limit: Duration) -> Pool {
    let options = Options {
        access: Access::ReadOnly,
        application_name: "userdata-pool".to_owned(),
        max_connections: CONNECTIONS,
        acquire_timeout: limit,
        statement_timeout: limit,
        pooler: Pooler::None,
    };
    Pool::open(url, &options).await.unwrap()
}

/// A database, and a pool that reaches it through a network.
async fn behind_a_network() -> (TestDatabase, Proxy, Pool) {
    let place = database(Kind::Postgres).await;
    let proxy = Proxy::before(postgres().await.port).await;
    let pool = pool(&proxy.url(&place.url)).await;
    (place, proxy, pool)
}

/// Uses every connection at once for statements that take an hour, and goes away when they have begun
/// and `then` has been done.
async fn leave_statements_behind(pool: &Pool, place: &TestDatabase, then: impl FnOnce()) {
    let watcher = place.connect().await;
    let statements = (0..CONNECTIONS).map(|_| pool.execute_unprepared("SELECT pg_sleep(3600)"));
    let begun = async {
        wait_for("the statements to run", async || (sleeping(&watcher).await == i64::from(CONNECTIONS)).then_some(()))
            .await;
        then();
    };
    tokio::select! {
        ended = futures::future::join_all(statements) => panic!("they ended: {ended:?}"),
        () = begun => {}
    }
}

async fn sleeping(watcher: &DatabaseConnection) -> i64 {
    let sleeping =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    count(watcher, sleeping).await
}

async fn answers(pool: &Pool) {
    let answer = timeout(LONG / 2, pool.execute_unprepared("SELECT 1")).await;
    answer.expect("a connection is free").unwrap();
}

#[tokio::test]
async fn a_statement_whose_caller_has_left_keeps_no_connection_and_is_ended() {
    let place = database(Kind::Postgres).await;
    let pool = pool(&place.url).await;
    leave_statements_behind(&pool, &place, || ()).await;
    answers(&pool).await;
    let watcher = place.connect().await;
    wait_for("the statements to end", async || (sleeping(&watcher).await == 0).then_some(())).await;
}

#[tokio::test]
async fn connections_that_a_network_has_swallowed_are_replaced() {
    let (place, proxy, pool) = behind_a_network().await;
    leave_statements_behind(&pool, &place, || proxy.set(Network::Blackhole)).await;
    proxy.restore();
    answers(&pool).await;
}

/// sqlx pings a connection that is given back once more, and without a limit; that is where these are lost.
#[tokio::test]
async fn a_pool_that_has_lost_all_its_connections_is_replaced() {
    const WAY: Duration = Duration::from_millis(60);
    const LIMIT: Duration = Duration::from_secs(1);
    let place = database(Kind::Postgres).await;
    let proxy = Proxy::before(postgres().await.port).await;
    let pool = limited(&proxy.url(&place.url), LIMIT).await;
    // A busy machine may miss the moment between the two pings.
    for _round in 0..20 {
        let answered = async || pool.execute_unprepared("SELECT 1").await.ok();
        wait_for("an answer", answered).await;
        let before = pool.replacements();
        proxy.set(Network::Delay(WAY));
        futures::future::join_all((0..CONNECTIONS).map(|_| pool.execute_unprepared("SELECT 1"))).await;
        // The first ping takes two ways, and so does the second.
        tokio::time::sleep(WAY * 3).await;
        proxy.set(Network::Blackhole);
        tokio::time::sleep(WAY * 2).await;
        proxy.restore();
        let restored = Instant::now();
        wait_for("an answer", answered).await;
        if pool.replacements() > before {
            eprintln!("replaced; an answer {:?} after the network was restored", restored.elapsed());
            return;
        }
    }
    panic!("no round has lost all connections");
}

#[tokio::test]
async fn sources_that_refuse_connections_are_an_error_at_once() {
    let (place, proxy, pool) = behind_a_network().await;
    up(&place.connect().await, Tables::CacheAndSources).await.unwrap();
    let sources = SourceDatabase::new(pool, 1024);
    sources.begin(&[]).await.unwrap().0.end().await.unwrap();
    proxy.set(Network::Refuse);
    for _ in 0..3 {
        let began = Instant::now();
        let refused = timeout(LONG / 2, sources.begin(&[])).await.expect("not tried again and again");
        assert!(refused.is_err(), "{refused:?}");
        eprintln!("refused after {:?}", began.elapsed());
    }
    proxy.restore();
    sources.begin(&[]).await.unwrap().0.end().await.unwrap();
}

/// Gives a call so many turns, then leaves it.
async fn turns(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_connection_keeps_a_transaction_whose_begin_was_cancelled() {
    for kind in BOTH {
        let place = database(kind).await;
        let watcher = place.connect().await;
        watcher.execute_unprepared("CREATE TABLE t (a INTEGER)").await.unwrap();
        let options = Options {
            access: Access::ReadWrite,
            application_name: "userdata-cancelled".to_owned(),
            max_connections: CONNECTIONS,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
            pooler: Pooler::None,
        };
        let pool = Pool::open(&place.url, &options).await.unwrap();
        // Until there is time enough for a transaction to begin: some calls end between its BEGIN and the answer.
        let (mut given, mut begun, mut writes) = (0, 0, 0);
        while begun < 20 {
            tokio::select! {
                biased;
                transaction = pool.begin() => {
                    drop(transaction.unwrap());
                    begun += 1;
                }
                () = turns(given) => given += 3,
            }
            // The next BEGIN of the connection would end with a rollback.
            pool.execute_unprepared("INSERT INTO t VALUES (1)").await.unwrap();
            writes += 1;
        }
        assert_eq!(count(&watcher, "SELECT COUNT(*) FROM t").await, writes, "{kind:?}: what was written is committed");
        if kind == Kind::Postgres {
            let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND state LIKE 'idle in transaction%'";
            wait_for("no open transaction", async || (count(&watcher, open).await == 0).then_some(())).await;
        }
    }
}
