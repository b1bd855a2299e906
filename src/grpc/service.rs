//! The five RPCs: parse, ask the cache, make the reply.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use tonic::{Extensions, Request, Response, Status};
use tracing::info;

use self::{
    convert::GetRequest,
    failure::{failed, failed_status},
};
use super::{answer::GetReply, caller::Caller, refusal::Refusal, request_id::RequestId, status};
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
mod failure;
pub mod health;
pub mod reply;
pub mod warm;

/// The generated server around [`UserDataRpcs`].
pub type UserDataServer = UserDataServiceServer<UserDataRpcs>;

/// `userdata.v1.UserDataService` over the cache.
#[derive(Debug)]
pub struct UserDataRpcs {
    cache: Arc<UserDataCache>,
    clock: Clock,
    started: Moment,
    response_bytes_max: usize,
}

impl UserDataRpcs {
    /// Counts its uptime from now.
    #[must_use]
    pub fn new(cache: Arc<UserDataCache>, clock: Clock, response_bytes_max: usize) -> Self {
        let started = clock.now();
        Self { cache, clock, started, response_bytes_max }
    }

    /// The reply with a document that is in memory.
    pub(super) fn hit(&self, request: &GetRequest, caller: &Caller) -> Option<Result<GetReply, Refusal>> {
        if request.refresh {
            return None;
        }
        if let Err(refusal) = caller.may_concern(&request.query.user) {
            return Some(Err(refusal));
        }
        let served = self.cache.hit(&request.query, &request.options)?;
        Some(self.reply(request, &served).map_err(Refusal::Failed))
    }

    /// The reply, wherever the document comes from.
    pub(super) async fn get(&self, request: &GetRequest, caller: &Caller, id: &RequestId) -> Result<GetReply, Refusal> {
        caller.may_concern(&request.query.user)?;
        let served = if request.refresh {
            self.cache.refresh(&request.query, &request.options).await
        } else {
            self.cache.get(&request.query, &request.options).await
        };
        served.and_then(|served| self.reply(request, &served)).map_err(|error| failed(error, id))
    }

    fn reply(&self, request: &GetRequest, served: &Served) -> Result<GetReply, Error> {
        let now = self.clock.utc();
        let sections = request.options.sections;
        let sealed = reply::get(served, sections, request.refresh, now);
        let sealed = reply::unless_too_large(sealed, &served.snapshot, sections, self.response_bytes_max)?;
        Ok(GetReply { sealed, x_cache: reply::x_cache(served, now), status: served.status.name() })
    }
}

#[tonic::async_trait]
impl UserDataService for UserDataRpcs {
    /// Only for requests that the layers above have not decoded: compressed ones, and those with a mistake.
    async fn get_comprehensive_user_data(
        &self,
        request: Request<GetComprehensiveUserDataRequest>,
    ) -> Result<Response<SealedResponse>, Status> {
        let id = request_id(request.extensions());
        let refused = |refusal| status::of(&refusal, &id);
        let caller = caller(request.extensions()).map_err(refused)?;
        let request = convert::get(request.get_ref()).map_err(refused)?;
        let reply = self.get(&request, &caller, &id).await.map_err(refused)?;
        let mut response = Response::new(SealedResponse::default());
        response.extensions_mut().insert(reply);
        Ok(response)
    }

    async fn invalidate_cache(
        &self,
        request: Request<InvalidateCacheRequest>,
    ) -> Result<Response<InvalidateCacheResponse>, Status> {
        let id = request_id(request.extensions());
        let refused = |refusal| status::of(&refusal, &id);
        let caller = caller(request.extensions()).map_err(refused)?;
        let asked = convert::invalidate(request.into_inner()).map_err(refused)?;
        caller.may_concern(&asked.scope.user).map_err(refused)?;
        // The log names no user; the hash finds the row for operators who may read the table.
        let concerned = UserDataQuery::new(asked.scope.user.clone(), asked.scope.strategy, Parameters::none());

        let done = self.cache.invalidate(asked.scope, asked.how).await.map_err(|error| failed_status(error, &id))?;

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
        let id = request_id(request.extensions());
        let mut stats = match convert::stats(request.get_ref()).map_err(|refusal| status::of(&refusal, &id))? {
            Some(most_accessed) => self.cache.stats(most_accessed).await.map_err(|error| failed_status(error, &id))?,
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
        let id = request_id(request.extensions());
        let limit = convert::cleanup(request.get_ref()).map_err(|refusal| status::of(&refusal, &id))?;
        let deleted = self.cache.cleanup(limit).await.map_err(|error| failed_status(error, &id))?;
        Ok(Response::new(CleanupCacheResponse { deleted_count: i64::try_from(deleted).unwrap_or(i64::MAX) }))
    }

    type WarmCacheStream = Pin<Box<dyn Stream<Item = Result<WarmCacheResponse, Status>> + Send>>;

    async fn warm_cache(&self, request: Request<WarmCacheRequest>) -> Result<Response<Self::WarmCacheStream>, Status> {
        let id = request_id(request.extensions());
        let asked = convert::warm(request.get_ref()).map_err(|refusal| status::of(&refusal, &id))?;
        let documents = match asked.what {
            convert::WarmWhat::Documents(documents) => documents,
            convert::WarmWhat::MostAccessed(count) => {
                self.cache.most_accessed(count).await.map_err(|error| failed_status(error, &id))?
            }
        };
        Ok(Response::new(warm::progress(Arc::clone(&self.cache), documents, asked.concurrency, id).boxed()))
    }
}

/// The layers have put it there. Without them nothing is known of the caller, so it may do nothing.
fn caller(extensions: &Extensions) -> Result<Caller, Refusal> {
    extensions.get().cloned().ok_or(Refusal::Unauthenticated)
}

fn request_id(extensions: &Extensions) -> RequestId {
    extensions.get().cloned().unwrap_or_else(RequestId::create)
}
