//! The services, below all layers.
//!
//! tonic serves the RPCs. A Get that the layers have decoded goes straight to the cache: through tonic it would be
//! decoded, checked and hashed twice.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::Request;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt as _};

use super::{
    answer::{Answer, Content},
    call::{Call, Message},
    service::UserDataRpcs,
};

/// The services of this server.
#[derive(Clone, Debug)]
pub struct Routes {
    /// None: every call is tonic's.
    pub rpcs: Option<Arc<UserDataRpcs>>,
    pub tonic: tonic::service::Routes,
}

impl<B> Service<Call<B>> for Routes
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        let Call { id, caller, head, message, .. } = call;
        if let (Message::Get(request), Some(rpcs)) = (&message, &self.rpcs) {
            let (request, rpcs) = (request.clone(), Arc::clone(rpcs));
            return async move { Ok(rpcs.get(&request, &caller, &id).await.into()) }.boxed();
        }
        let mut request = Request::from_parts(head, Body::new(message));
        request.extensions_mut().insert(id);
        request.extensions_mut().insert(caller);
        let routes = self.tonic.clone();
        async move {
            let Ok(response) = routes.oneshot(request).await;
            Ok(Content::Encoded(response).into())
        }
        .boxed()
    }
}
