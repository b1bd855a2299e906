//! Calls as the layers get them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use http::Request;
use http_body::{Body, Frame};

use super::{
    call::Call,
    method::Method,
    transport::{
        connections::{ConnectionLimits, Connections},
        peer::Peer,
    },
};
use crate::{clock::Clock, telemetry::Meter};

/// A request's body of these frames.
pub(super) struct TestBody(BoxStream<'static, Bytes>);

pub(super) fn body(frames: impl Stream<Item = Bytes> + Send + 'static) -> TestBody {
    TestBody(frames.boxed())
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.0.poll_next_unpin(context)).map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A message of no bytes.
pub(super) fn empty_message() -> TestBody {
    body(futures::stream::iter([Bytes::from_static(&[0; 5])]))
}

pub(super) fn request(method: Method, headers: &[(&str, &str)], body: TestBody) -> Request<TestBody> {
    let request = Request::post(format!("http://localhost/{}", method.name()));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(body).unwrap()
}

pub(super) fn call(method: Method, headers: &[(&str, &str)]) -> Call<TestBody> {
    call_with(method, headers, empty_message())
}

pub(super) fn call_with(method: Method, headers: &[(&str, &str)], body: TestBody) -> Call<TestBody> {
    let (head, body) = request(method, headers, body).into_parts();
    Call::new(method, Peer::default(), head, body)
}

/// The other end of the nth connection of a server, on which nothing has been admitted.
pub(super) async fn unauthenticated(number: u64) -> Peer {
    let limit = Duration::from_secs(60);
    let limits = ConnectionLimits { connections: 1, first_request: limit, idle: limit };
    let connections = Connections::new(limits, Clock::system(), &Meter::none());
    for _ in 1..number {
        drop(connections.enter().await);
    }
    Peer::at(&connections.enter().await, None)
}

/// The same, of a caller.
pub(super) async fn admitted(number: u64) -> Peer {
    let peer = unauthenticated(number).await;
    peer.admit();
    peer
}
