//! Wishes for freshness that this instance's log cannot simply fulfil.

use std::time::Duration;

use tonic::Code;
use userdata::proto::v1::{CacheInfo, CacheStatus, GetComprehensiveUserDataRequest};

use super::{asking, assert_refused, retry_after};
use testkit::{database::Kind, demo::serve_demo, server::Client};

async fn answered(client: &mut Client, request: GetComprehensiveUserDataRequest) -> CacheInfo {
    client.get_comprehensive_user_data(request).await.unwrap().into_inner().cache_info.unwrap()
}

fn newer_than(token: String) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { min_token: token, ..asking("1") }
}

#[tokio::test]
async fn a_token_of_another_log_is_answered_from_the_sources_and_one_ahead_of_the_log_not_at_all() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let mut client = server.client().await;
    let first = answered(&mut client, asking("1")).await;
    assert_eq!(answered(&mut client, newer_than(first.token.clone())).await.status(), CacheStatus::HitMemory);

    let other = newer_than("00000000-0000-4000-8000-000000000000:7".to_owned());
    for _ in 0..2 {
        assert_eq!(answered(&mut client, other.clone()).await.status(), CacheStatus::Assembled);
    }

    let (epoch, position) = first.token.rsplit_once(':').unwrap();
    let ahead = format!("{epoch}:{}", position.parse::<i64>().unwrap() + 1);
    for force_refresh in [false, true] {
        let request = GetComprehensiveUserDataRequest { force_refresh, ..newer_than(ahead.clone()) };
        let status = client.get_comprehensive_user_data(request).await.unwrap_err();
        assert_refused(&status, Code::Unavailable, "TOKEN_AHEAD");
        assert_eq!(retry_after(&status), Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_document_older_than_max_age_is_treated_as_missing() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let mut client = server.client().await;
    answered(&mut client, asking("1")).await;
    let with = |max_age: Duration| GetComprehensiveUserDataRequest { max_age: Some(max_age.into()), ..asking("1") };
    assert_eq!(answered(&mut client, with(Duration::from_secs(3600))).await.status(), CacheStatus::HitMemory);
    assert_eq!(answered(&mut client, with(Duration::ZERO)).await.status(), CacheStatus::Assembled);
}
