//! A document that is in memory, given at once: by the very poll that brings the request, without a future of its own,
//! a router or tonic's codec around it.
//!
//! Decision: only what is plain is answered here, with the document or with its refusal for its size. Whatever else a
//! request asks for or lacks (another encoding, credentials, a message in pieces or with a mistake, a document that is not
//! in memory) is answered nothing here and goes the whole way; what has been read of it is read again there.
//!
//! Invariant: nothing is given here that the whole way would not give: the same code judges credentials, request and
//! document. It takes no place from other requests, because it never waits.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, Request, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use prost::Message as _;
use tonic::{Status, metadata::GRPC_CONTENT_TYPE};
use tracing::Span;

use super::{auth::Auth, concurrency_limit::ConcurrencyLimit, deadline};
use crate::{
    grpc::{
        method::Method,
        request_id::RequestId,
        service::{Reply, Service, convert},
    },
    proto::v1::GetComprehensiveUserDataRequest,
};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// gRPC's prefix of a message: one byte for compression, four for its length.
const PREFIX_BYTES: usize = 5;

/// What answers from memory.
#[derive(Clone, Debug)]
pub struct Hits {
    /// Who has the documents.
    pub(in crate::grpc) service: Arc<Service>,
    /// Larger requests are refused on the whole way.
    pub(in crate::grpc) request_bytes_max: usize,
}

impl Hits {
    /// The reply to a Get, if it can be given now.
    pub(in crate::grpc) fn reply<B: Body<Data = Bytes> + Unpin>(
        &self,
        auth: &Auth,
        gate: &ConcurrencyLimit,
        id: &RequestId,
        request: &mut Request<Peeked<B>>,
        context: &mut Context<'_>,
    ) -> Option<Result<Reply, Status>> {
        let headers = request.headers();
        if gate.is_closed() || !is_plain(headers) || deadline::asked(headers).is_err() {
            return None;
        }
        // Order: before anything that depends on what is asked for.
        if let Some(caller) = auth.admit(Method::Get, headers, request.extensions()).ok()? {
            Span::current().record("caller", &*caller);
        }
        let message = request.body_mut().message(context).filter(|message| message.len() <= self.request_bytes_max)?;
        let asked = convert::get(&GetComprehensiveUserDataRequest::decode(message).ok()?).ok()?;
        self.service.hit(&asked, id)
    }
}

/// As most clients ask: in protobuf, not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|of| of == GRPC_CONTENT_TYPE) && !headers.contains_key(ENCODING)
}

/// A request's body of which the first frame may have been looked at: whoever reads it gets all of it.
#[derive(Debug)]
pub struct Peeked<B> {
    seen: Option<Bytes>,
    body: B,
}

impl<B> From<B> for Peeked<B> {
    fn from(body: B) -> Self {
        Self { seen: None, body }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Peeked<B> {
    /// The request's message, if it is there as a whole and the last of the request.
    fn message(&mut self, context: &mut Context<'_>) -> Option<Bytes> {
        self.see(context)?;
        // Many clients end a request with an empty frame of its own. One and no more: each costs a copy of what is there,
        // and a peer may send a message byte by byte.
        if !self.body.is_end_stream() {
            let _ = self.see(context);
        }
        let mut message = self.seen.clone().filter(|_| self.body.is_end_stream())?;
        let is_whole = message.len() >= PREFIX_BYTES
            && message.get_u8() == 0
            && usize::try_from(message.get_u32()).is_ok_and(|length| length == message.len());
        is_whole.then_some(message)
    }

    /// Reads a frame, if one is there that can be read again.
    fn see(&mut self, context: &mut Context<'_>) -> Option<()> {
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self.body).poll_frame(context) else { return None };
        // Trailers of a request say nothing to us.
        let more = frame.into_data().unwrap_or_default();
        self.seen = Some(match self.seen.take() {
            Some(seen) if !more.is_empty() => [seen, more].concat().into(),
            Some(seen) => seen,
            None => more,
        });
        Some(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Peeked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        match this.seen.take() {
            Some(seen) => Poll::Ready(Some(Ok(Frame::data(seen)))),
            None => Pin::new(&mut this.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let seen = self.seen.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut all = SizeHint::new();
        if let Some(upper) = rest.upper() {
            all.set_upper(upper + seen);
        }
        all.set_lower(rest.lower() + seen);
        all
    }
}
