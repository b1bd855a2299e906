//! File descriptors: the limit is raised, and callers' connections leave enough of them for everything else.

use std::fs;

use testkit::{
    ask::of,
    database::{Kind, database},
    demo::demo_settings,
    server::{Settings, serve},
    wait_for,
    wire::Wire,
};

fn limits(pid: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let database = database(Kind::Sqlite).await;
    let server = serve(Settings { files: Some((256, 2000)), ..demo_settings(&database, &[]) }).await;
    assert_eq!(limits(server.pid()), ["2000", "2000"]);
    assert!(!server.log().contains("too few file descriptors"));
}

#[tokio::test]
async fn with_few_descriptors_fewer_connections_are_accepted_and_cold_documents_still_load() {
    let database = database(Kind::Sqlite).await;
    let server = serve(Settings { files: Some((256, 300)), ..demo_settings(&database, &[]) }).await;
    let log = server.log();
    assert!(log.contains("too few file descriptors for server.max_connections"), "{log}");
    let mut client = server.client().await;
    client.get_comprehensive_user_data(of("1")).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..350 {
        idle.push(Wire::open(server.address, &[]).await);
    }
    wait_for("the connections", async || {
        let (_, metrics) = server.probe("/metrics").await;
        let ended = metrics.lines().find(|line| line.starts_with("userdata_connections_ended_total{reason=\"full\"}"));
        ended.is_some_and(|line| !line.ends_with(" 0")).then_some(())
    })
    .await;
    for user in 2..=20 {
        client.get_comprehensive_user_data(of(&user.to_string())).await.expect("a cold document");
    }
    let mut new = server.client().await;
    new.get_comprehensive_user_data(of("21")).await.expect("a new caller");
    assert!(!server.log().contains("Too many open files"));
}
