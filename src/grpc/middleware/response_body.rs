//! A reply on its way out: bounded like the request was, safe against panics of a stream, and counted
//! when its last byte is handed over or when it is dropped.
//!
//! A sealed document goes out as it is, in one frame of two pieces, and trailers. tonic would copy it: its encoder knows
//! no message that is encoded already.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, buf::Chain};
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tracing::{Span, error};

use super::{catch_panic, deadline::Bound, metrics::Call};
use crate::{
    grpc::{
        refusal::{Outcome, Refusal},
        request_id::RequestId,
        status,
    },
    proto::SealedResponse,
};

/// What a frame carries: HTTP/2 takes as long for a small one as for a large one, so the two pieces of a sealed document
/// are one frame of the body. What tonic makes has one piece.
type Pieces = Chain<Bytes, Bytes>;

/// The body of every reply.
#[derive(Debug)]
pub struct ReplyBody {
    /// None once the reply has ended.
    running: Option<Running>,
    /// Counts the request when dropped, so after the end.
    call: Call,
    id: RequestId,
    span: Span,
}

/// What is left of a reply.
enum Running {
    /// A sealed document, then OK.
    Sealed(Option<Pieces>),
    /// What tonic makes of a message or of a stream of them.
    Encoded(Encoded),
}

struct Encoded {
    body: Body,
    bound: Bound,
    /// Made when a stream first has to wait: a unary reply never does.
    passed: Option<BoxFuture<'static, Refusal>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sealed(_) => "Sealed",
            Self::Encoded(_) => "Encoded",
        })
    }
}

impl ReplyBody {
    /// A body that ends with trailers.
    pub fn new(body: Body, bound: Bound, call: Call, id: RequestId, span: Span) -> Self {
        Self { running: Some(Running::Encoded(Encoded { body, bound, passed: None })), call, id, span }
    }

    /// A document that is there.
    pub fn sealed(reply: SealedResponse, call: Call, id: RequestId, span: Span) -> Self {
        Self { running: Some(Running::Sealed(Some(reply.into_pieces()))), call, id, span }
    }

    /// No body: the headers said it all, and `call` knows how it ended.
    pub fn empty(call: Call, id: RequestId) -> Self {
        Self { running: None, call, id, span: Span::none() }
    }

    /// The end of a document.
    fn ok(&mut self) -> Frame<Pieces> {
        self.running = None;
        self.call.ends(Outcome::Answered, Code::Ok);
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Frame::trailers(trailers)
    }

    /// Ends the stream early with a status of ours.
    fn cut(&mut self, outcome: Outcome, status: &Status) -> Frame<Pieces> {
        self.running = None;
        self.call.ends(outcome, status.code());
        let mut trailers = HeaderMap::new();
        self.id.stamp(&mut trailers);
        status.add_header(&mut trailers).expect("messages are percent-encoded and details base64");
        Frame::trailers(trailers)
    }
}

impl Encoded {
    fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<Refusal> {
        let bound = &self.bound;
        self.passed.get_or_insert_with(|| bound.clone().passed().boxed()).as_mut().poll(context)
    }
}

impl http_body::Body for ReplyBody {
    type Data = Pieces;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Status>>> {
        let this = self.get_mut();
        let Some(running) = &mut this.running else { return Poll::Ready(None) };

        let encoded = match running {
            Running::Encoded(encoded) => encoded,
            Running::Sealed(pieces) => {
                return Poll::Ready(Some(Ok(match pieces.take() {
                    Some(pieces) => Frame::data(pieces),
                    None => this.ok(),
                })));
            }
        };
        let polled = this.span.in_scope(|| catch_panic::call(|| Pin::new(&mut encoded.body).poll_frame(context)));
        let Ok(polled) = polled else {
            this.span.in_scope(|| this.id.in_log(|| error!("a stream panicked")));
            let status = status::internal(&this.id);
            return Poll::Ready(Some(Ok(this.cut(Outcome::Answered, &status))));
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.call.ends(Outcome::Answered, code(trailers));
                }
                Poll::Ready(Some(Ok(frame.map_data(|data| data.chain(Bytes::new())))))
            }
            Poll::Ready(Some(Err(status))) => {
                this.call.ends(Outcome::Answered, status.code());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                this.running = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Refusal { outcome, status } = ready!(encoded.poll_passed(context));
                Poll::Ready(Some(Ok(this.cut(outcome, &status))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.running.as_ref().is_none_or(|running| match running {
            Running::Encoded(encoded) => encoded.body.is_end_stream(),
            Running::Sealed(_) => false,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.running.as_ref().map_or_else(
            || SizeHint::with_exact(0),
            |running| match running {
                Running::Encoded(encoded) => encoded.body.size_hint(),
                // A length would become a header, which gRPC's replies do not have.
                Running::Sealed(_) => SizeHint::default(),
            },
        )
    }
}

/// The code that headers or trailers tell.
fn code(headers: &HeaderMap) -> Code {
    headers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()))
}
