//! The body of every response: it ends a stream at its deadline or at drain, survives a panic of the stream, and counts
//! the request when its last byte is handed over or when it is dropped.
//!
//! A sealed document goes out as it is, in one frame of two pieces, and trailers. tonic would copy it: its encoder
//! knows no message that is encoded already.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, buf::Chain};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tracing::error;

use crate::{
    grpc::{
        answer::Until,
        metrics::RequestRecord,
        refusal::{Outcome, Refusal},
        request_id::RequestId,
        status,
    },
    proto::SealedResponse,
};

/// The data of a frame: HTTP/2 takes as long for a small one as for a large one, so the two pieces of a sealed document
/// are one frame of the body. tonic's messages have one piece.
type Pieces = Chain<Bytes, Bytes>;

/// The body of every response.
#[derive(Debug)]
pub struct ResponseBody {
    /// None once the response has ended.
    rest: Option<Rest>,
    /// Counts the request when dropped, so after the end.
    record: RequestRecord,
}

/// The rest of a response.
#[derive(Debug)]
enum Rest {
    /// A sealed document, then OK.
    Sealed(Option<Pieces>),
    /// tonic's message, or a stream of them.
    Encoded(Box<EncodedStream>),
}

struct EncodedStream {
    body: Body,
    /// Until the stream first has to wait.
    until: Option<Until>,
    /// Made of it then: a unary reply never waits.
    passed: Option<BoxFuture<'static, Refusal>>,
    id: RequestId,
}

impl std::fmt::Debug for EncodedStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EncodedStream").field("until", &self.until).finish_non_exhaustive()
    }
}

impl ResponseBody {
    /// A body that ends with trailers.
    pub(super) fn encoded(body: Body, until: Option<Until>, id: RequestId, record: RequestRecord) -> Self {
        Self { rest: Some(Rest::Encoded(Box::new(EncodedStream { body, until, passed: None, id }))), record }
    }

    /// A document that is there.
    pub(super) fn sealed(reply: SealedResponse, record: RequestRecord) -> Self {
        Self { rest: Some(Rest::Sealed(Some(reply.into_pieces()))), record }
    }

    /// The document and the record of its request, if it is a document that is there; else itself.
    pub(crate) fn into_sealed(mut self) -> Either<(SealedResponse, RequestRecord), Self> {
        match self.rest.take() {
            Some(Rest::Sealed(Some(pieces))) => Either::Left((SealedResponse::of_pieces(pieces), self.record)),
            rest => Either::Right(Self { rest, ..self }),
        }
    }

    /// No body: the headers said it all, and `record` knows the end.
    pub(super) fn empty(record: RequestRecord) -> Self {
        Self { rest: None, record }
    }

    /// The end of a document.
    fn ok(&mut self) -> Frame<Pieces> {
        self.rest = None;
        self.record.ends(Outcome::Answered, Code::Ok);
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Frame::trailers(trailers)
    }

    /// Ends a stream early.
    fn cut(&mut self, id: RequestId, refusal: &Refusal) -> Frame<Pieces> {
        self.rest = None;
        let status = status::of(refusal, &id);
        self.record.ends(refusal.outcome(), status.code());
        let mut trailers = HeaderMap::new();
        id.stamp(&mut trailers);
        status.add_header(&mut trailers).expect("messages are percent-encoded and details base64");
        Frame::trailers(trailers)
    }
}

/// What a body of tonic's gives when it is polled.
type Polled = Option<Result<Frame<Bytes>, Status>>;

impl EncodedStream {
    /// The next frame, or why there is none.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Polled, Refusal>> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context))) {
            Ok(Poll::Ready(frame)) => Poll::Ready(Ok(frame)),
            Ok(Poll::Pending) => {
                if let Some(until) = self.until.take() {
                    self.passed = Some(until.passed().boxed());
                }
                let Some(passed) = &mut self.passed else { return Poll::Pending };
                Poll::Ready(Err(ready!(passed.as_mut().poll(context))))
            }
            Err(_) => {
                self.id.in_log(|| error!("a stream panicked"));
                Poll::Ready(Err(Refusal::Panicked))
            }
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Pieces;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Status>>> {
        let this = self.get_mut();
        let encoded = match &mut this.rest {
            None => return Poll::Ready(None),
            Some(Rest::Sealed(pieces)) => {
                return Poll::Ready(Some(Ok(match pieces.take() {
                    Some(pieces) => Frame::data(pieces),
                    None => this.ok(),
                })));
            }
            Some(Rest::Encoded(encoded)) => encoded,
        };
        match ready!(this.record.span().in_scope(|| encoded.poll_frame(context))) {
            Ok(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.record.ends(Outcome::Answered, code(trailers));
                }
                Poll::Ready(Some(Ok(frame.map_data(|data| data.chain(Bytes::new())))))
            }
            Ok(Some(Err(status))) => {
                this.record.ends(Outcome::Answered, status.code());
                Poll::Ready(Some(Err(status)))
            }
            Ok(None) => {
                this.rest = None;
                Poll::Ready(None)
            }
            Err(refusal) => {
                let id = encoded.id.clone();
                Poll::Ready(Some(Ok(this.cut(id, &refusal))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| match rest {
            Rest::Encoded(encoded) => encoded.body.is_end_stream(),
            Rest::Sealed(_) => false,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(
            || SizeHint::with_exact(0),
            |rest| match rest {
                Rest::Encoded(encoded) => encoded.body.size_hint(),
                // A length would become a header, which gRPC's replies do not have.
                Rest::Sealed(_) => SizeHint::default(),
            },
        )
    }
}

/// The code in trailers.
fn code(headers: &HeaderMap) -> Code {
    headers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()))
}
