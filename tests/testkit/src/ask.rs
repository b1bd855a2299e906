//! The questions that many tests ask, and what they look at in the answers.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use userdata::proto::v1::{
    CacheStatus, GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataRequest,
    GetComprehensiveUserDataResponse, InvalidateCacheRequest,
};

use crate::{server::Client, wait_for};

/// What a test looks at in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: CacheStatus,
    pub user: String,
    /// Which strategy the document is about, and its count (sources.rs).
    pub strategy: i64,
    pub count: i64,
    pub verified: bool,
    pub token: String,
}

/// A user's document, as a request.
pub fn of(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}

/// The same for one strategy.
pub fn of_strategy(user: &str, strategy: i32) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { strategy_id: Some(strategy.into()), ..of(user) }
}

/// Asks.
pub async fn get(client: &Client, request: GetComprehensiveUserDataRequest) -> Result<Answer, Status> {
    client.clone().get_comprehensive_user_data(request).await.map(|response| Answer::of(&response.into_inner()))
}

impl Answer {
    pub fn of(response: &GetComprehensiveUserDataResponse) -> Self {
        let info = response.cache_info.as_ref().unwrap();
        let document = response.data.as_ref().unwrap();
        let strategy = document.strategy_data.as_ref().unwrap();
        Self {
            status: info.status(),
            user: document.user_id.clone(),
            strategy: strategy.strategy_id,
            count: strategy.strategy_name.parse().unwrap(),
            verified: info.verified,
            token: info.token.clone(),
        }
    }

    /// What most tests are about.
    pub fn facts(&self) -> (CacheStatus, i64) {
        (self.status, self.count)
    }
}

/// An invalidation of everything of a user, as a request.
pub fn everything_of(user: &str) -> InvalidateCacheRequest {
    InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() }
}

/// Invalidates; the token.
pub async fn invalidate(client: &Client, request: InvalidateCacheRequest) -> Result<String, Status> {
    client.clone().invalidate_cache(request).await.map(|response| response.into_inner().token)
}

/// The statistics.
pub async fn stats(client: &Client) -> GetCacheStatsResponse {
    client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner()
}

/// How often each source has run.
pub fn runs(stats: &GetCacheStatsResponse) -> Vec<(&str, i64)> {
    stats.sources.iter().map(|source| (source.source.as_str(), source.runs)).collect()
}

/// The reason that a failure is named after.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A refusal for overload: it says when to come back, twice, as one half of the clients reads this and the other that.
#[track_caller]
pub fn assert_overloaded(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, "OVERLOADED"), "{status:?}");
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
    assert!((Duration::from_millis(500)..=Duration::from_millis(1500)).contains(&retry), "{retry:?}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").expect("for gRPC's own retry policies");
    assert_eq!(pushback.to_str().unwrap(), retry.as_millis().to_string());
}

/// Waits for a verified answer about user 1 with this count.
pub async fn is_verified(client: &Client, count: i64) {
    wait_for("a verified answer", async || {
        let answer = get(client, of("1")).await.ok()?;
        (answer.verified && answer.count == count).then_some(())
    })
    .await;
}
