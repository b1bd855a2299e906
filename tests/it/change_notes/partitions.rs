//! Rows that statement triggers do not see: those written straight into a partition, and those of logical replication.

use sea_orm::ConnectionTrait;
use testkit::{
    database::{Kind, TestDatabase},
    postgres::own_postgres,
    sources::{count, sources, sources_in},
    wait_for,
};
use userdata::{changes, model::Section::Onboarding};

use super::{Cluster, bits, told, watched};

/// Audits by user, in two partitions.
const PARTITIONED: &str = "DROP TABLE seo_page_audits; \
    CREATE TABLE seo_page_audits (id INT, user_id VARCHAR(255), website_url VARCHAR(500), page_url VARCHAR(500), \
    overall_score INT, status VARCHAR(50)) PARTITION BY LIST (user_id); \
    CREATE TABLE audits_of_a PARTITION OF seo_page_audits FOR VALUES IN ('a'); \
    CREATE TABLE audits_of_b (junk INT, status VARCHAR(50), overall_score INT, id INT, user_id VARCHAR(255), \
    website_url VARCHAR(500), page_url VARCHAR(500)); \
    ALTER TABLE audits_of_b DROP COLUMN junk; \
    ALTER TABLE seo_page_audits ATTACH PARTITION audits_of_b FOR VALUES IN ('b')";

#[tokio::test]
async fn rows_written_straight_into_a_partition_are_told() {
    let sources = sources(Kind::Postgres).await;
    sources.database.execute(PARTITIONED).await;
    let mut cluster = watched(&sources).await;
    assert!(cluster.read().await.unwatched.is_empty());
    let of = |user: &str| format!("{user} {}", bits(&[Onboarding]));
    for (statement, expected) in [
        ("INSERT INTO audits_of_a (id, user_id) VALUES (1, 'a')", vec![of("a")]),
        ("INSERT INTO seo_page_audits (id, user_id) VALUES (2, 'b'), (3, 'a')", vec![of("a"), of("b")]),
        ("UPDATE audits_of_b SET overall_score = 1", vec![of("b")]),
        ("UPDATE seo_page_audits SET overall_score = 1", vec![of("a")]),
        ("DELETE FROM audits_of_a WHERE id = 3", vec![of("a")]),
        ("UPDATE seo_page_audits SET user_id = 'b' WHERE id = 1", vec![of("a"), of("b")]),
    ] {
        sources.database.execute(statement).await;
        assert_eq!(cluster.told().await, expected, "{statement}");
    }
    let everyone = [format!("* {}", bits(&[Onboarding]))];
    for statement in [
        "TRUNCATE audits_of_a",
        "CREATE TABLE audits_of_c PARTITION OF seo_page_audits FOR VALUES IN ('c')",
        "ALTER TABLE seo_page_audits DETACH PARTITION audits_of_b",
        "TRUNCATE seo_page_audits",
        "DROP TABLE audits_of_a",
    ] {
        sources.database.execute(statement).await;
        let reading = cluster.read().await;
        assert_eq!(told(&reading), everyone, "{statement}");
        assert!(reading.unwatched.is_empty(), "{statement}: a new partition has the triggers");
    }
    sources.database.execute("INSERT INTO audits_of_c (id, user_id) VALUES (9, 'c')").await;
    assert_eq!(cluster.told().await, [of("c")]);
}

#[tokio::test]
async fn a_row_trigger_follows_the_columns() {
    let sources = sources(Kind::Postgres).await;
    sources.database.execute(PARTITIONED).await;
    let mut cluster = watched(&sources).await;
    let statements = [
        "INSERT INTO seo_page_audits (id, user_id, status) VALUES (1, 'a', 's')",
        "UPDATE seo_page_audits SET status = 't'",
        "ALTER TABLE seo_page_audits ALTER COLUMN status TYPE INT USING 1",
        "UPDATE seo_page_audits SET status = 2",
        "ALTER TABLE seo_page_audits DROP COLUMN website_url",
        "ALTER TABLE seo_page_audits RENAME COLUMN overall_score TO score",
        "UPDATE seo_page_audits SET status = 3",
    ];
    super::in_one_session(&sources.db, &statements).await;
    cluster.read().await;
    super::in_one_session(&sources.db, &["UPDATE seo_page_audits SET score = 3", statements[6]]).await;
    assert_eq!(cluster.told().await, [""; 0], "neither is read, or different");
}

#[tokio::test]
async fn what_logical_replication_applies_is_told() {
    let mut server = own_postgres().await;
    server.administer().await.execute_unprepared("ALTER SYSTEM SET wal_level = logical").await.unwrap();
    server.kill().await;
    server.start().await;
    for name in ["publisher", "subscriber"] {
        server.administer().await.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    }
    let publisher = sources_in(TestDatabase::on(&server, "publisher")).await;
    let subscriber = sources_in(TestDatabase::on(&server, "subscriber")).await;
    publisher.add_user("a", &[11]).await;
    let tables = "onboarding_sessions, enhanced_content_strategies, seo_page_audits";
    publisher.database.execute(&format!("CREATE PUBLICATION p FOR TABLE {tables}")).await;
    // In the same server the slot has to be there before.
    publisher.database.rows("SELECT 1 FROM pg_create_logical_replication_slot('s', 'pgoutput')").await;
    let url = format!("host=127.0.0.1 port={} user=postgres dbname=publisher", server.port);
    let subscribe = format!("CREATE SUBSCRIPTION s CONNECTION '{url}' PUBLICATION p WITH (create_slot = false)");
    subscriber.database.execute(&subscribe).await;
    let copied = "SELECT COUNT(*) FROM enhanced_content_strategies";
    wait_for("the first copy", async || (count(&subscriber.db, copied).await == 1).then_some(())).await;

    changes::install(&subscriber.db).await.unwrap();
    let mut cluster = Cluster::begin(&subscriber.database).await;
    assert!(cluster.read().await.unwatched.is_empty());
    publisher.write(11, 1).await;
    let told = wait_for("the change", async || {
        let told = cluster.told().await;
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert!(told[0].starts_with("a/11 "), "{told:?}");
    publisher.database.execute("TRUNCATE seo_page_audits").await;
    let told = wait_for("the emptied table", async || {
        let told = cluster.told().await;
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(told, [format!("* {}", bits(&[Onboarding]))]);
    // The application's own writes there are told, too.
    subscriber
        .database
        .execute("INSERT INTO seo_page_audits (id, user_id, website_url, page_url) VALUES (1, 'b', 'w', 'p')")
        .await;
    assert_eq!(cluster.told().await, [format!("b {}", bits(&[Onboarding]))]);
}
