//! A document that is in memory, given at once: without a future of its own, a router or tonic's codec.
//!
//! A Get is decoded, checked and hashed here, once; the service below gets the parsed request if the document is not
//! in memory. A Get that is compressed or has a mistake goes on as it came, and tonic answers it.
//!
//! Invariant: the same code judges the request and makes the reply on both ways. A hit needs no permit, because it
//! never waits.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::HeaderName;
use prost::Message as _;
use tower::{Layer, Service};

use crate::{
    grpc::{
        answer::{Answer, CallService, ReadyOr, answered},
        call::{Call, Message},
        method::Method,
        service::{
            UserDataRpcs,
            convert::{self, GetRequest},
        },
    },
    proto::v1::GetComprehensiveUserDataRequest,
};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Puts a [`MemoryHitService`] above a service.
#[derive(Clone, Debug)]
pub(crate) struct MemoryHitLayer {
    /// None: nothing is in memory.
    pub(crate) rpcs: Option<Arc<UserDataRpcs>>,
}

/// Answers from memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryHitService<S> {
    rpcs: Option<Arc<UserDataRpcs>>,
    inner: S,
}

impl<S> Layer<S> for MemoryHitLayer {
    type Service = MemoryHitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MemoryHitService { rpcs: self.rpcs.clone(), inner }
    }
}

impl<B, S> Service<Call<B>> for MemoryHitService<S>
where
    S: CallService<B>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    // Boxed here and not above, so that a hit allocates no future.
    type Future = ReadyOr<BoxFuture<'static, Result<Answer, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call<B>) -> Self::Future {
        if let Some(rpcs) = &self.rpcs
            && let Some(request) = get_request(&call)
        {
            if let Some(reply) = rpcs.hit(&request, &call.caller) {
                return answered(reply);
            }
            call.message = Message::Get(Box::new(request));
        }
        Either::Right(self.inner.call(call).boxed())
    }
}

/// The request, if it is a Get that is whole, plain and correct.
fn get_request<B>(call: &Call<B>) -> Option<GetRequest> {
    let (Method::Get, Message::Whole(message)) = (call.method, &call.message) else { return None };
    let message = plain(message).filter(|_| !call.headers().contains_key(ENCODING))?;
    convert::get(&GetComprehensiveUserDataRequest::decode(message).ok()?).ok()
}

/// The message without its prefix, unless it is compressed.
fn plain(message: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = message.split_first_chunk::<5>()?;
    (prefix[0] == 0).then_some(message)
}
