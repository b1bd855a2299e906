//! The five RPCs: parse, ask the cache, say the answer.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use http::HeaderValue;
use tonic::{Extensions, Request, Response, Status, metadata::MetadataValue};
use tracing::{Span, error, info, warn};

use super::{middleware::concurrency_limit::Permit, request_id::RequestId, status};
use crate::{
    cache::UserDataCache,
    clock::{Clock, Moment},
    error::Error,
    model::{Parameters, Served, UserDataQuery},
    proto::{
        SealedResponse,
        v1::{
            CleanupCacheRequest, CleanupCacheResponse, GetCacheStatsRequest, GetCacheStatsResponse,
            GetComprehensiveUserDataRequest, InvalidateCacheRequest, InvalidateCacheResponse, WarmCacheRequest,
            WarmCacheResponse,
            server::user_data_service_server::{UserDataService, UserDataServiceServer},
        },
    },
    telemetry::trace::AUDIT,
};

pub mod convert;
pub mod health;
pub mod reply;
pub mod warm;

/// The generated server around [`Service`].
pub type UserDataServer = UserDataServiceServer<Service>;

/// `userdata.v1.UserDataService` over the cache.
#[derive(Debug)]
pub struct Service {
    cache: Arc<UserDataCache>,
    clock: Clock,
    started: Moment,
    response_bytes_max: usize,
}

impl Service {
    /// Counts its uptime from now.
    #[must_use]
    pub fn new(cache: Arc<UserDataCache>, clock: Clock, response_bytes_max: usize) -> Self {
        let started = clock.now();
        Self { cache, clock, started, response_bytes_max }
    }

    /// The reply with a document that can be given at once.
    pub(super) fn hit(&self, asked: &convert::Get, id: &RequestId) -> Option<Result<Reply, Status>> {
        if asked.refresh {
            return None;
        }
        let served = self.cache.hit(&asked.query, &asked.wish)?;
        Some(self.reply(asked, &served, id))
    }

    fn reply(&self, asked: &convert::Get, served: &Served, id: &RequestId) -> Result<Reply, Status> {
        let now = self.clock.utc();
        let sealed = reply::get(served, asked.wish.sections, asked.refresh, now);
        let sealed = reply::unless_too_large(sealed, &served.snapshot, asked.wish.sections, self.response_bytes_max)
            .map_err(|error| refused(&error, id))?;
        Ok(Reply { sealed, x_cache: reply::x_cache(served, now), status: served.status.name() })
    }

    async fn serve(&self, asked: &convert::Get) -> Result<Served, Error> {
        if asked.refresh {
            return self.cache.refresh(&asked.query, &asked.wish).await;
        }
        self.cache.get(&asked.query, &asked.wish).await
    }
}

/// The reply to a Get.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) sealed: SealedResponse,
    pub(super) x_cache: HeaderValue,
    /// For its span.
    pub(super) status: &'static str,
}

#[tonic::async_trait]
impl UserDataService for Service {
    async fn get_comprehensive_user_data(
        &self,
        request: Request<GetComprehensiveUserDataRequest>,
    ) -> Result<Response<SealedResponse>, Status> {
        let (_, mut extensions, request) = request.into_parts();
        let id = begin(&extensions)?;
        let asked = convert::get(&request)?;

        let served = match extensions.remove::<Permit>() {
            Some(place) => place.until_it_waits(self.serve(&asked)).await,
            None => self.serve(&asked).await,
        };
        let served = served.map_err(|error| refused(&error, &id))?;
        let Reply { sealed, x_cache, status } = self.reply(&asked, &served, &id)?;
        Span::current().record("userdata.status", status);
        let mut response = Response::new(SealedResponse::default());
        // In place of the message, whose document tonic would copy.
        response.extensions_mut().insert(sealed);
        response
            .metadata_mut()
            .insert(reply::X_CACHE, MetadataValue::try_from(x_cache.as_bytes()).expect("ASCII words and digits"));
        Ok(response)
    }

    async fn invalidate_cache(
        &self,
        request: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        let id = begin(request.extensions())?;
        let asked = convert::invalidate(request.into_inner())?;
        // The log names nobody; this finds the user's row for those who may read the table.
        let concerned = UserDataQuery::new(asked.scope.user.clone(), asked.scope.strategy, Parameters::none());

        let done = self.cache.invalidate(asked.scope, asked.how).await.map_err(|error| refused(&error, &id))?;

        info!(
            target: AUDIT,
            data_hash = %concerned.key().hash,
            purge = asked.how.purge,
            reason = asked.reason,
            token = %done.token,
            "invalidated"
        );
        Ok(Response::new(InvalidateCacheResponse {
            removed_entries: i64::try_from(done.removed).unwrap_or(i64::MAX),
            token: done.token.to_string(),
        }))
    }

    async fn get_cache_stats(
        &self,
        request: Request<GetCacheStatsRequest>,
    ) -> Result<Response<GetCacheStatsResponse>, Status> {
        let id = begin(request.extensions())?;
        let mut stats = match convert::stats(request.get_ref())? {
            Some(most_accessed) => self.cache.stats(most_accessed).await.map_err(|error| refused(&error, &id))?,
            None => self.cache.instance_stats(),
        };
        stats.uptime = Some(self.clock.now().since(self.started).into());
        env!("CARGO_PKG_VERSION").clone_into(&mut stats.version);
        Ok(Response::new(stats))
    }

    async fn cleanup_cache(
        &self,
        request: Request<CleanupCacheRequest>,
    ) -> Result<Response<CleanupCacheResponse>, Status> {
        let id = begin(request.extensions())?;
        let limit = convert::cleanup(request.get_ref())?;
        let deleted = self.cache.cleanup(limit).await.map_err(|error| refused(&error, &id))?;
        Ok(Response::new(CleanupCacheResponse { deleted_count: i64::try_from(deleted).unwrap_or(i64::MAX) }))
    }

    type WarmCacheStream = Pin<Box<dyn Stream<Item = Result<WarmCacheResponse, Status>> + Send>>;

    async fn warm_cache(&self, request: Request<WarmCacheRequest>) -> Result<Response<Self::WarmCacheStream>, Status> {
        let id = begin(request.extensions())?;
        let asked = convert::warm(request.get_ref())?;
        let documents = match asked.what {
            convert::WarmWhat::Documents(documents) => documents,
            convert::WarmWhat::MostAccessed(count) => {
                self.cache.most_accessed(count).await.map_err(|error| refused(&error, &id))?
            }
        };
        Ok(Response::new(warm::progress(Arc::clone(&self.cache), documents, asked.concurrency, id).boxed()))
    }
}

/// The answer to a request that failed; logged here, once, if somebody should know.
pub(super) fn refused(error: &Error, id: &RequestId) -> Status {
    match error {
        Error::Unavailable { reason, cause, .. } => {
            let cause = cause.as_deref().map(|cause| cause as &dyn std::error::Error);
            id.in_log(|| warn!(%reason, cause, "unavailable"));
        }
        Error::Internal | Error::BudgetExceeded => id.in_log(|| error!(%error, "internal error")),
        _ => {}
    }
    status::of(error, id)
}

/// The request's message is there: its place among those that are worked on, and its id.
pub(super) fn begin(extensions: &Extensions) -> Result<RequestId, Status> {
    if let Some(place) = extensions.get::<Permit>() {
        place.begin()?;
    }
    Ok(extensions.get().cloned().unwrap_or_else(RequestId::create))
}
