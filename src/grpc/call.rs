//! A request between the layers: what they have learnt of it, and its message.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tower::BoxError;

use super::{
    caller::Caller, method::Method, request_id::RequestId, service::convert::GetRequest, transport::peer::Peer,
};

/// A request on its way to the service. Each layer fills in what it is for.
#[derive(Debug)]
pub struct Call<B> {
    pub method: Method,
    /// Empty until the request id layer.
    pub id: RequestId,
    /// A service without a name, until credentials are checked.
    pub caller: Caller,
    /// None: the call may stay open until the server drains.
    pub deadline: Option<Instant>,
    pub peer: Peer,
    pub head: request::Parts,
    pub message: Message<B>,
}

/// What there is of a request's message. As a body it gives the framed bytes.
#[derive(Debug)]
pub enum Message<B> {
    /// On its way.
    Arriving(B),
    /// Whole and the only one, with gRPC's prefix.
    Whole(Bytes),
    /// A Get that has been decoded.
    Get(Box<GetRequest>),
}

impl<B> Call<B> {
    #[must_use]
    pub fn new(method: Method, peer: Peer, head: request::Parts, body: B) -> Self {
        let message = Message::Arriving(body);
        Self { method, id: RequestId::default(), caller: Caller::service(None), deadline: None, peer, head, message }
    }

    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Message<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Arriving(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Whole(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Whole(_) | Self::Get(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Arriving(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Get(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Arriving(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Get(_) => SizeHint::with_exact(0),
        }
    }
}
