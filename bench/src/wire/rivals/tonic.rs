//! Servers over unmodified tonic: one method, a message in, a message out.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use futures::{FutureExt as _, future::BoxFuture, stream};
use http::{Request, Response};
use multi_tier_cache::{CacheError, CacheManager, CacheStrategy, L1Cache, L2Cache, MokaCacheConfig};
use prost::Message;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::Service;
use userdata::proto::v1::{GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse};

use super::Listener;

/// Longer than any measurement.
const TTL: Duration = Duration::from_secs(3600);

/// The contract's reply as opaque bytes: a field that the contract's clients skip.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Encoded {
    #[prost(bytes = "bytes", tag = "1000")]
    data: Bytes,
}

impl Encoded {
    /// As long on the wire as the message itself: its bytes, less the field's own key and length.
    fn as_long_as(reply: &Bytes) -> Self {
        let field = |bytes: usize| Self { data: reply.slice(..bytes) }.encoded_len();
        let bytes = (0..reply.len()).rev().find(|bytes| field(*bytes) <= reply.len()).unwrap();
        Self { data: reply.slice(..bytes) }
    }
}

/// Answers a request.
type Answer<T> = Arc<dyn Fn(GetComprehensiveUserDataRequest) -> BoxFuture<'static, Result<T, Status>> + Send + Sync>;

/// The same bytes for every request.
pub(super) fn echo(reply: Bytes) -> Answer<Encoded> {
    let reply = Encoded::as_long_as(&reply);
    Arc::new(move |_| std::future::ready(Ok(reply.clone())).boxed())
}

/// Structs in memory: copied, and encoded by tonic.
pub(super) fn moka(message: GetComprehensiveUserDataResponse) -> Answer<GetComprehensiveUserDataResponse> {
    let cache = moka::future::Cache::<String, GetComprehensiveUserDataResponse>::new(10_000);
    let message = Arc::new(message);
    Arc::new(move |request| {
        let (cache, message) = (cache.clone(), Arc::clone(&message));
        async move {
            // moka's cheapest hit: `get_with` is a future of 33 KB.
            if let Some(found) = cache.get(&request.user_id).await {
                return Ok(found);
            }
            Box::pin(cache.insert(request.user_id, (*message).clone())).await;
            Ok((*message).clone())
        }
        .boxed()
    })
}

/// Encoded documents: its README's "Zero-cost L1 hits - raw `bytes::Bytes` storage".
pub(super) async fn multi_tier_cache(redis_url: &str, reply: Bytes) -> Answer<Encoded> {
    let reply = Encoded::as_long_as(&reply).data;
    let memory = Arc::new(L1Cache::new(MokaCacheConfig::default()).unwrap());
    let redis = Arc::new(L2Cache::with_url(redis_url).await.unwrap());
    let cache = Arc::new(CacheManager::new(memory, redis).await.unwrap());
    Arc::new(move |request| {
        let (cache, reply) = (Arc::clone(&cache), reply.clone());
        async move {
            let load = || async { Ok::<_, CacheError>(reply) };
            let got = cache.get_or_compute_with(&request.user_id, CacheStrategy::Custom(TTL), load).await;
            Ok(Encoded { data: got.map_err(|error| Status::unknown(error.to_string()))? })
        }
        .boxed()
    })
}

/// No memory tier: JSON from Redis, parsed and encoded again for every request.
pub(super) async fn redis_json(redis_url: &str) -> Answer<GetComprehensiveUserDataResponse> {
    let config = fred::types::config::Config::from_url(redis_url).unwrap();
    let client = fred::types::Builder::from_config(config).build().unwrap();
    client.init().await.unwrap();
    Arc::new(move |request| {
        let client = client.clone();
        async move {
            let json: Bytes = client.get(super::json_key(&request.user_id)).await.unwrap();
            Ok(serde_json::from_slice(&json).unwrap())
        }
        .boxed()
    })
}

/// Serves for ever.
pub(super) async fn serve<T: Message + 'static>(listener: Listener, answer: Answer<T>) {
    let incoming = stream::unfold(listener, |listener| async move {
        let stream = listener.accept().await;
        Some((Ok::<_, std::io::Error>(stream), listener))
    });
    Server::builder().add_service(OneMethod(answer)).serve_with_incoming(incoming).await.unwrap();
}

/// Equals tonic's generated code.
struct OneMethod<T>(Answer<T>);

impl<T> Clone for OneMethod<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for OneMethod<T> {
    const NAME: &'static str = "userdata.v1.UserDataService";
}

impl<T: Message + 'static> Service<Request<Body>> for OneMethod<T> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = self.clone();
        async move {
            let codec = ProstCodec::<T, GetComprehensiveUserDataRequest>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        }
        .boxed()
    }
}

impl<T: Message + 'static> UnaryService<GetComprehensiveUserDataRequest> for OneMethod<T> {
    type Response = T;
    type Future = BoxFuture<'static, Result<tonic::Response<T>, Status>>;

    fn call(&mut self, request: tonic::Request<GetComprehensiveUserDataRequest>) -> Self::Future {
        let answered = (self.0)(request.into_inner());
        async move { answered.await.map(tonic::Response::new) }.boxed()
    }
}
