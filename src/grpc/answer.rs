//! The layers' answer to a [`Call`]. The outermost one makes the HTTP response of it.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
};

use futures::future::Either;
use http::{HeaderValue, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;
use tracing::Span;

use super::{
    call::Call,
    refusal::Refusal,
    request_id::RequestId,
    slots::{Lost, Slot},
};
use crate::proto::SealedResponse;

/// A service below the outermost layer.
pub trait CallService<B>: Service<Call<B>, Response = Answer, Error = Infallible> {}

impl<B, S: Service<Call<B>, Response = Answer, Error = Infallible>> CallService<B> for S {}

/// The answer of the service below, or one that is ready.
pub type ReadyOr<F> = Either<Ready<Result<Answer, Infallible>>, F>;

/// An answer without a call of the service below.
pub fn answered<F>(answer: impl Into<Answer>) -> ReadyOr<F> {
    Either::Left(ready(Ok(answer.into())))
}

/// An answer on its way out. Each layer adds what it is for.
#[derive(Debug)]
pub struct Answer {
    pub content: Content,
    /// From the request id layer.
    pub id: RequestId,
    /// From the trace layer. The body continues in it.
    pub span: Span,
    /// What ends a stream that does not end by itself.
    pub until: Option<Until>,
}

/// What is sent.
#[derive(Debug)]
pub enum Content {
    /// A document that is encoded already.
    Sealed(GetReply),
    /// tonic's response: a message, a stream of them, or an error.
    Encoded(Response<Body>),
    /// An error of ours.
    Refused(Refusal),
}

/// The reply to a Get.
#[derive(Clone, Debug)]
pub struct GetReply {
    pub sealed: SealedResponse,
    pub x_cache: HeaderValue,
    /// For the span.
    pub status: &'static str,
}

/// What ends a stream.
#[derive(Debug)]
pub enum Until {
    Deadline(Instant),
    /// For streams that may stay open, such as a watch on health.
    Open(OpenStream),
}

/// What ends a stream that needs no permit.
#[derive(Debug)]
pub struct OpenStream {
    /// Other streams may take it.
    pub slot: (Slot, Lost),
    pub deadline: Option<Instant>,
    /// None: it ends before the server drains.
    pub drain: Option<CancellationToken>,
}

impl Until {
    /// Waits for it. The refusal says why the stream ends.
    pub async fn passed(self) -> Refusal {
        match self {
            Self::Deadline(at) => {
                due(at).await;
                Refusal::DeadlineExceeded
            }
            Self::Open(open) => open.passed().await,
        }
    }
}

impl OpenStream {
    async fn passed(self) -> Refusal {
        let Self { slot: (_slot, lost), deadline, drain } = self;
        let due = async {
            match deadline {
                Some(at) => due(at).await,
                None => pending().await,
            }
        };
        let drained = async {
            match drain {
                Some(drain) => drain.cancelled_owned().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => Refusal::DeadlineExceeded,
            () = drained => Refusal::Draining,
            _ = lost => Refusal::Overloaded,
        }
    }
}

async fn due(at: Instant) {
    // A timer that is due still waits for the clock's next millisecond.
    if Instant::now() < at {
        tokio::time::sleep_until(at).await;
    }
}

impl Answer {
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        matches!(self.content, Content::Encoded(_))
    }
}

impl From<Content> for Answer {
    fn from(content: Content) -> Self {
        Self { content, id: RequestId::default(), span: Span::none(), until: None }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Content::Refused(refusal).into()
    }
}

impl From<Result<GetReply, Refusal>> for Answer {
    fn from(reply: Result<GetReply, Refusal>) -> Self {
        reply.map_or_else(Self::from, |reply| Content::Sealed(reply).into())
    }
}
