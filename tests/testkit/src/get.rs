//! Asking for a document, and what its reports say.

use std::time::Duration;

use tonic::Status;
use userdata::{
    model::{Section, State},
    proto::v1::{
        CacheStatus, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse, InvalidateCacheRequest,
        SectionReport,
    },
};

use crate::server::Client;

/// A whole document.
pub async fn get(client: &mut Client, user: &str) -> GetComprehensiveUserDataResponse {
    ask(client, user, false).await.unwrap()
}

/// The same, read anew.
pub async fn refresh(client: &mut Client, user: &str) -> GetComprehensiveUserDataResponse {
    ask(client, user, true).await.unwrap()
}

/// A whole document, or why there is none.
pub async fn ask(
    client: &mut Client,
    user: &str,
    force_refresh: bool,
) -> Result<GetComprehensiveUserDataResponse, Status> {
    let request = GetComprehensiveUserDataRequest { user_id: user.to_owned(), force_refresh, ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(60));
    client.get_comprehensive_user_data(request).await.map(tonic::Response::into_inner)
}

/// Invalidates everything of a user.
pub async fn invalidate(client: &mut Client, user: &str) {
    let request = InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() };
    client.invalidate_cache(request).await.unwrap();
}

/// Where a reply came from.
pub fn status(reply: &GetComprehensiveUserDataResponse) -> CacheStatus {
    reply.cache_info.as_ref().unwrap().status()
}

/// Whether no section is stale or failed.
pub fn complete(reply: &GetComprehensiveUserDataResponse) -> bool {
    reply.cache_info.as_ref().unwrap().complete
}

/// A section's report.
pub fn report(reply: &GetComprehensiveUserDataResponse, section: Section) -> &SectionReport {
    reply.sections.iter().find(|report| report.section() == section).unwrap()
}

/// The sections that failed, and why.
pub fn failed(reply: &GetComprehensiveUserDataResponse) -> Vec<(Section, &str)> {
    let failed = reply.sections.iter().filter(|report| report.state() == State::Failed);
    failed.map(|report| (report.section(), report.reason.as_str())).collect()
}
