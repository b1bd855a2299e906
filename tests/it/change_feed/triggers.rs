//! Triggers that are not as they were installed.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use userdata::{
    changes,
    proto::v1::{Freshness, GetComprehensiveUserDataRequest, Section},
};

use super::{LEASE, fed, fed_with, get_with, is_verified, observe, with_feed};
use testkit::{
    ask::{get, of, reason, stats},
    cluster::{Layout, cluster},
    wait_for,
};

const BOTH: [Layout; 2] = [Layout::Sqlite, Layout::Postgres];

#[tokio::test]
async fn sections_of_tables_without_triggers_are_not_verified_until_they_are_installed_again() {
    for layout in BOTH {
        let fed = fed(cluster(layout).await, 2).await;
        changes::remove(&fed.cluster.sources.db).await.unwrap();
        fed.cluster.sources.write(11, 1).await;
        let committed = Instant::now();
        for client in &fed.clients {
            observe(client, 1, committed, LEASE + Duration::from_secs(1)).await;
            let answer = get(client, of("1")).await.unwrap();
            assert!(!answer.verified, "{layout:?}: {answer:?}");
            assert_eq!(get_with(client, Freshness::Strict).await.unwrap().count, 1, "{layout:?}");
            let refused = get_with(client, Freshness::Linearizable).await.unwrap_err();
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::Unavailable, "CHANGE_FEED_UNREADABLE"),
                "{layout:?}"
            );
            let is_told = async || (!stats(client).await.changes.unwrap().unwatched.is_empty()).then_some(());
            wait_for("the sections to be told", is_told).await;
        }
        fed.cluster.sources.write(11, 2).await;
        changes::install(&fed.cluster.sources.db).await.unwrap();
        for client in &fed.clients {
            is_verified(client, 2).await;
        }
    }
}

#[tokio::test]
async fn only_the_sections_of_the_table_concerned_are_not_verified() {
    for layout in BOTH {
        let fed = fed(cluster(layout).await, 1).await;
        let client = &fed.clients[0];
        let db = &fed.cluster.sources.db;
        let on = if layout == Layout::Sqlite { "" } else { " ON persona_data" };
        testkit::database::execute(db, &format!("DROP TRIGGER userdata_persona_data_insert{on}")).await;
        let of_section =
            |section: Section| GetComprehensiveUserDataRequest { sections: vec![section.into()], ..of("1") };
        let is_verified = async |section| {
            let response = client.clone().get_comprehensive_user_data(of_section(section)).await.unwrap();
            response.into_inner().cache_info.unwrap().verified
        };
        wait_for("onboarding to be flagged", async || (!is_verified(Section::Onboarding).await).then_some(())).await;
        // It is made from onboarding.
        wait_for("the analysis to be flagged", async || (!is_verified(Section::AiAnalysis).await).then_some(())).await;
        // No part of it is in that table. A busy machine may let the feed lapse for a moment.
        wait_for("strategy to be verified", async || is_verified(Section::Strategy).await.then_some(())).await;
    }
}

#[tokio::test]
async fn triggers_that_were_changed_between_two_readings_are_noticed() {
    for layout in BOTH {
        let fed = fed(cluster(layout).await, 2).await;
        let db = &fed.cluster.sources.db;
        // As fast as a migration would.
        changes::remove(db).await.unwrap();
        fed.cluster.sources.write(11, 1).await;
        changes::install(db).await.unwrap();
        let committed = Instant::now();
        for client in &fed.clients {
            observe(client, 1, committed, LEASE + Duration::from_millis(500)).await;
            is_verified(client, 1).await;
        }
    }
}

#[tokio::test]
async fn missing_triggers_are_installed_again_if_that_is_allowed() {
    for layout in BOTH {
        let cluster = cluster(layout).await;
        let settings = with_feed(&cluster).with("sources.repair_triggers", true);
        let fed = fed_with(cluster, vec![settings]).await;
        changes::remove(&fed.cluster.sources.db).await.unwrap();
        fed.cluster.sources.write(11, 1).await;
        is_verified(&fed.clients[0], 1).await;
    }
}
