//! WarmCache: one message per finished item, in the order of finishing.
//!
//! No task: the stream stops when the caller leaves and pauses when the caller reads slowly. Loads that have begun go
//! on, because they belong to the cache.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tonic::Status;

use super::{failure::failed_status, reply};
use crate::{
    cache::{ReadOptions, UserDataCache},
    error::Error,
    grpc::request_id::RequestId,
    model::{Served, UserDataQuery},
    proto::{
        google::rpc,
        v1::{WarmCacheResponse, WarmItem},
    },
};

/// Loads the documents, so many at once.
pub fn progress(
    cache: Arc<UserDataCache>,
    documents: Vec<UserDataQuery>,
    concurrency: usize,
    id: RequestId,
) -> impl Stream<Item = Result<WarmCacheResponse, Status>> + Send + 'static {
    let total = documents.len();
    stream::iter(documents)
        .map(move |query| {
            let cache = Arc::clone(&cache);
            async move {
                let loaded = cache.get(&query, &ReadOptions::default()).await;
                (query, loaded)
            }
        })
        .buffer_unordered(concurrency)
        .enumerate()
        .map(move |(before, (query, loaded))| Ok(finished(before + 1, total, &query, loaded, &id)))
}

fn finished(
    done: usize,
    total: usize,
    query: &UserDataQuery,
    loaded: Result<Served, Error>,
    id: &RequestId,
) -> WarmCacheResponse {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let item = WarmItem { user_id: query.user.to_string(), strategy_id: query.strategy.map(|s| s.get()) };
    let mut message =
        WarmCacheResponse { done: count(done), total: count(total), item: Some(item), ..Default::default() };
    match loaded {
        Ok(served) => message.status = reply::cache_status(served.status).into(),
        Err(error) => message.error = Some(as_message(&failed_status(error, id))),
    }
    message
}

/// A status as the message that gRPC carries in a header; the details of ours are one already.
fn as_message(status: &Status) -> rpc::Status {
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Missing,
        model::{Parameters, UserId},
        proto::v1::CacheStatus,
    };

    #[test]
    fn a_failed_item_carries_its_error_with_details_and_no_status() {
        let query = UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none());
        let failed = Err(Error::NotFound { what: Missing::User });
        let message = finished(2, 3, &query, failed, &RequestId::create());
        assert_eq!((message.done, message.total, message.status()), (2, 3, CacheStatus::Unspecified));
        assert_eq!(message.item.unwrap().user_id, "1");
        let error = message.error.unwrap();
        assert_eq!((error.code, error.message.as_str()), (5, "user not found"));
        let kinds: Vec<_> = error.details.iter().map(|any| any.type_url.as_str()).collect();
        assert_eq!(kinds, ["type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.ResourceInfo"]);
    }
}
