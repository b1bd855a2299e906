//! The body of every response: bytes that are there, or a stream. It counts its request when its last byte is handed over
//! or when it is dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, buf::Chain};
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};
use tonic::Code;
use tower::BoxError;

use crate::grpc::{metrics::RequestRecord, refusal::Outcome};

/// Two pieces, the second of which may be shared with the memory tier.
type HttpData = Chain<Bytes, Bytes>;

/// The body of every response.
pub(super) enum HttpBody {
    /// None once they are handed over. The record, if there is one, ends with OK then.
    Whole(Option<HttpData>, Option<RequestRecord>),
    Stream(BoxStream<'static, Bytes>),
}

impl HttpBody {
    /// Its request is counted already.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes.chain(Bytes::new())), None)
    }

    /// Nothing is left to send: the request is answered by its headers.
    pub(super) fn without_content(&mut self) {
        if let Self::Whole(pieces, record) = self {
            *pieces = None;
            if let Some(record) = record {
                record.ends(Outcome::Answered, Code::Ok);
            }
        }
    }

    /// A document; its request ends with it.
    pub(super) fn document(pieces: HttpData, record: RequestRecord) -> Self {
        Self::Whole(Some(pieces), Some(record))
    }
}

impl http_body::Body for HttpBody {
    type Data = HttpData;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<HttpData>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(pieces, record) => {
                let pieces = pieces.take().filter(|pieces| pieces.has_remaining());
                if let Some(record) = record {
                    record.ends(Outcome::Answered, Code::Ok);
                }
                Poll::Ready(pieces.map(|pieces| Ok(Frame::data(pieces))))
            }
            Self::Stream(stream) => {
                let polled = stream.as_mut().poll_next(context);
                polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes.chain(Bytes::new())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(pieces, _) => pieces.as_ref().is_none_or(|pieces| !pieces.has_remaining()),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces, _) => {
                SizeHint::with_exact(pieces.as_ref().map_or(0, |pieces| pieces.remaining() as u64))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
