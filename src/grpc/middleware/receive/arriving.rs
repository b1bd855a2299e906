//! One message of a request's body, collected within its bounds.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;

use tower::BoxError;

use crate::grpc::refusal::{Refusal, RefusedMessage};

/// gRPC's prefix of a message: one byte for compression, four for its length.
const PREFIX_BYTES: usize = 5;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    bytes_max: usize,
    /// The first frame, which usually is the whole message: not copied.
    first: Bytes,
    /// All frames once there are two: a peer may send a message byte by byte.
    all: BytesMut,
}

fn why(error: BoxError) -> Refusal {
    error.downcast::<RefusedMessage>().map_or(Refusal::Abandoned, |refused| refused.0)
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Arriving<B> {
    pub(super) fn new(body: B, bytes_max: usize) -> Self {
        Self { body, bytes_max, first: Bytes::new(), all: BytesMut::new() }
    }

    /// The whole message with its prefix, when the request has ended; or why the request is refused.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            if self.body.is_end_stream() {
                return Poll::Ready(self.whole());
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(self.whole()),
                Some(Err(error)) => return Poll::Ready(Err(why(error.into()))),
                // Trailers of a request have no meaning in gRPC.
                Some(Ok(frame)) => self.add(frame.into_data().unwrap_or_default())?,
            }
        }
    }

    fn add(&mut self, more: Bytes) -> Result<(), Refusal> {
        if self.all.is_empty() && self.first.is_empty() {
            self.first = more;
        } else if !more.is_empty() {
            if self.all.is_empty() {
                self.all.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.all.extend_from_slice(&more);
        }
        self.check()
    }

    /// The bytes so far.
    pub(super) fn received(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }

    /// The bytes that the prefix announces, once it is there.
    fn announced(&self) -> Option<usize> {
        let prefix = self.received().get(1..PREFIX_BYTES)?;
        let length = u32::from_be_bytes(prefix.try_into().expect("four bytes"));
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn check(&self) -> Result<(), Refusal> {
        let Some(bytes) = self.announced() else { return Ok(()) };
        if bytes > self.bytes_max {
            return Err(Refusal::MessageTooLarge { bytes, bytes_max: self.bytes_max });
        }
        let is_within = self.received().len() <= PREFIX_BYTES + bytes;
        if is_within { Ok(()) } else { Err(Refusal::NotOneMessage) }
    }

    fn whole(&mut self) -> Result<Bytes, Refusal> {
        if self.received().is_empty() {
            return Err(Refusal::NotOneMessage);
        }
        if self.announced().is_none_or(|bytes| self.received().len() != PREFIX_BYTES + bytes) {
            return Err(Refusal::Unreadable);
        }
        let first = std::mem::take(&mut self.first);
        Ok(if self.all.is_empty() { first } else { std::mem::take(&mut self.all).freeze() })
    }
}
