//! An instance goes on while the application changes its rows, and its tables.

use testkit::{
    command::userdata_with,
    database::Kind,
    generations::{GENERATIONS, Generation, Ids, Planning, Who},
    get::{ask, complete, failed, get},
    server::Settings,
    wait_for,
};

use super::documents::{comparable, serve_from, serve_planning, warnings};

/// A change that the application makes to a row of each of its users that have such rows, and where it is seen.
const CHANGES: [(Who, &str, &str); 4] = [
    (
        Who::Onboarded,
        "UPDATE content_recommendations SET title = 'changed' WHERE id = 11",
        "/recommendations_data/0/title",
    ),
    (
        Who::Onboarded,
        "UPDATE website_analyses SET website_url = 'changed' WHERE id = 1",
        "/website_analysis/website_url",
    ),
    (
        Who::Onboarded,
        "UPDATE enhanced_content_strategies SET name = 'changed' WHERE id = 1",
        "/strategy_data/strategy_name",
    ),
    (Who::LegacyOnly, "UPDATE content_strategies SET name = 'changed' WHERE id = 2", "/strategy_data/strategy_name"),
];

#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_installed_on_what_is_there_and_changes_are_noticed() {
    for generation in GENERATIONS {
        for (kind, ids) in [(Kind::Sqlite, Ids::Clerk), (Kind::Postgres, Ids::Numeric), (Kind::Postgres, Ids::Clerk)] {
            let planning = Planning::of(generation, ids);
            let place = planning.database(kind).await;
            let installed = userdata_with(&["triggers", "install", "--database-url", &place.url], &[]).await;
            assert_eq!(installed.exit_code, 0, "{planning:?} {kind:?}: {installed:?}");
            let with_relay = |settings: Settings, url: &str| {
                settings.with("sources.change_feed", true).with("sources.relay_database_url", url)
            };
            let served = serve_from(place, with_relay).await;
            let mut client = served.server.client().await;
            for who in [Who::Onboarded, Who::LegacyOnly] {
                get(&mut client, planning.ids.of(who)).await;
            }
            for (_, statement, _) in CHANGES {
                served.place.execute(statement).await;
            }
            for (who, statement, path) in CHANGES {
                let user = planning.ids.of(who);
                wait_for(&format!("{planning:?} {kind:?}: {statement}"), async || {
                    let mut client = client.clone();
                    let reply = get(&mut client, user).await;
                    let json = serde_json::to_value(reply.data.unwrap()).unwrap();
                    (json.pointer(path)? == "changed").then_some(())
                })
                .await;
            }
        }
    }
}

/// The application migrates its tables while an instance reads them. No call fails, and the next one says what is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_instance_follows_changes_of_the_tables() {
    tokio::join!(follows_changes(Kind::Sqlite), follows_changes(Kind::Postgres));
}

async fn follows_changes(kind: Kind) {
    let planning = Planning::of(Generation::Newest, Ids::Numeric);
    let served = serve_planning(&planning, kind).await;
    let (client, user) = (served.server.client().await, planning.ids.of(Who::Onboarded));
    let before = comparable(&get(&mut client.clone(), user).await);
    const COLUMN: &str = "COLUMN_MISSING website_analyses.seo_audit";
    const TABLE: &str = "TABLE_MISSING persona_data";
    let mut changes: Vec<(&str, &[&str])> = vec![
        ("ALTER TABLE website_analyses RENAME COLUMN seo_audit TO audit", &[COLUMN]),
        ("ALTER TABLE persona_data RENAME TO personas", &[COLUMN, TABLE]),
        (
            "ALTER TABLE website_analyses RENAME COLUMN audit TO seo_audit; ALTER TABLE personas RENAME TO persona_data",
            &[],
        ),
    ];
    if kind == Kind::Postgres {
        changes.extend([
            ("ALTER TABLE content_strategies ALTER COLUMN user_id TYPE varchar(255)", &[][..]),
            ("ALTER TABLE content_analytics ALTER COLUMN metrics TYPE jsonb", &[]),
            ("ALTER TABLE website_analyses ALTER COLUMN seo_audit TYPE text", &[]),
        ]);
    }
    for (statement, missing) in changes {
        served.place.execute(statement).await;
        // What comes back is seen when the catalogue is looked at again.
        let reply = wait_for(&format!("{kind:?}: {statement}"), async || {
            let reply = ask(&mut client.clone(), user, true).await;
            let reply = reply.unwrap_or_else(|error| panic!("{kind:?}: {statement}: {error}\n{}", served.server.log()));
            assert!(complete(&reply), "{kind:?}: {statement}: {:?}\n{}", failed(&reply), served.server.log());
            warnings(&reply).iter().eq(missing.iter()).then_some(reply)
        })
        .await;
        if missing.is_empty() {
            assert_eq!(comparable(&reply), before, "{kind:?}: {statement}");
        }
    }
}
