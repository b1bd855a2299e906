//! Several clusters that read the same sources.

use userdata_migrations::{Tables, up};

use super::{fed, is_verified, with_feed};
use testkit::{
    ask::{get, of},
    cluster::{Layout, cluster},
    database::{Kind, database},
    server::serve,
    wait_for,
};

#[tokio::test]
async fn two_clusters_on_the_same_sources_both_see_every_change() {
    let fed = fed(cluster(Layout::PostgresBesidePostgres).await, 1).await;
    let other = database(Kind::Postgres).await;
    up(&other.connect().await, Tables::Cache).await.unwrap();
    let staging = serve(with_feed(&fed.cluster).with("database.url", &other.url)).await;
    let staging = staging.client().await;
    is_verified(&staging, 0).await;
    for count in 1..=20 {
        fed.cluster.sources.write(11, count).await;
        for client in [&fed.clients[0], &staging] {
            is_verified(client, count).await;
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_caches_database_goes_on_under_a_name_of_its_own() {
    let mut fed = fed(cluster(Layout::PostgresBesidePostgres).await, 1).await;
    fed.servers[0].terminate().await;
    let copy = database(Kind::Postgres).await;
    let tables = up(&copy.connect().await, Tables::Cache).await.unwrap();
    assert!(!tables.is_empty());
    for table in ["change_feed", "invalidation_log_head", "invalidation_log"] {
        copy.execute(&format!("DELETE FROM {table}")).await;
        for row in
            fed.cluster.database().rows(&format!("SELECT CAST(row_to_json(t) AS TEXT) AS row FROM {table} t")).await
        {
            let row: String = row.try_get("", "row").unwrap();
            let row = row.replace('\'', "''");
            copy.execute(&format!("INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, '{row}')"))
                .await;
        }
    }
    fed.servers[0].start().await;
    let original = fed.servers[0].client().await;
    is_verified(&original, 0).await;
    let copied = serve(with_feed(&fed.cluster).with("database.url", &copy.url)).await;
    let client = copied.client().await;
    is_verified(&client, 0).await;
    let renamed = "goes on under a new name";
    wait_for("the copy to be found", async || {
        (copied.log().contains(renamed) || fed.servers[0].log().contains(renamed)).then_some(())
    })
    .await;
    for count in 1..=5 {
        fed.cluster.sources.write(11, count).await;
        for client in [&original, &client] {
            is_verified(client, count).await;
        }
    }
    let epoch = |token: String| token.split_once(':').unwrap().0.to_owned();
    let [one, two] = [get(&original, of("1")).await.unwrap().token, get(&client, of("1")).await.unwrap().token];
    assert_ne!(epoch(one), epoch(two));
}
