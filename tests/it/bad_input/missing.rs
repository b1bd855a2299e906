//! Well formed, but not there: NOT_FOUND, the same whether it never existed or belongs to another user.

use tonic::{Code, Status};
use tonic_types::StatusExt;
use userdata::proto::v1::{GetComprehensiveUserDataRequest, InvalidateCacheRequest};

use super::{asking, assert_refused};
use testkit::{database::Kind, demo::serve_demo, server::Client};

#[track_caller]
fn assert_missing(status: &Status, reason: &str, resource: &str) {
    assert_refused(status, Code::NotFound, reason);
    assert_eq!(status.get_details_resource_info().expect("a ResourceInfo").resource_type, resource);
    assert!(status.get_details_retry_info().is_none(), "repeating does not help");
}

async fn strategy_of_user_1(client: &mut Client, strategy: i64) -> Result<(), Status> {
    let request = GetComprehensiveUserDataRequest { strategy_id: Some(strategy), ..asking("1") };
    client.get_comprehensive_user_data(request).await.map(drop)
}

#[tokio::test]
async fn an_unknown_user_is_not_found_and_remembered_until_an_invalidation() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let mut client = server.client().await;
    let mut runs = 0;
    for invalidated in [false, true] {
        if invalidated {
            let request = InvalidateCacheRequest { user_id: "nobody".to_owned(), ..Default::default() };
            client.invalidate_cache(request).await.unwrap();
        }
        for _ in 0..3 {
            let status = client.get_comprehensive_user_data(asking("nobody")).await.unwrap_err();
            assert_missing(&status, "USER_NOT_FOUND", "userdata.v1/User");
        }
        runs += 1;
        assert_eq!(server.runs("onboarding").await.0, runs, "one look, then remembered");
    }
}

#[tokio::test]
async fn somebody_elses_strategy_is_as_unknown_as_one_that_never_was() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let mut client = server.client().await;
    strategy_of_user_1(&mut client, 12).await.expect("user 1 has strategy 12");
    // 22 is user 2's; no user has the other.
    let somebodys = strategy_of_user_1(&mut client, 22).await.unwrap_err();
    let nobodys = strategy_of_user_1(&mut client, 987_654_321).await.unwrap_err();
    let others = GetComprehensiveUserDataRequest { strategy_id: Some(22), ..asking("2") };
    client.get_comprehensive_user_data(others).await.expect("user 2 has strategy 22");
    assert_missing(&somebodys, "STRATEGY_NOT_FOUND", "userdata.v1/Strategy");
    assert_eq!(somebodys.message(), nobodys.message());
    assert_eq!(somebodys.details(), nobodys.details());
}
