//! A stream of messages as Connect writes it: each in an envelope, then one that says how the stream ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::Stream;
use http_body::Body as _;
use serde_json::json;
use tonic::{Code, Status};
use tracing::error;

use super::error as connect_error;
use crate::{
    grpc::{method::Method, middleware::response_body::ResponseBody},
    http::{
        json,
        message::{Codec, PREFIX_BYTES},
    },
};

/// The flag of the last envelope.
const END: u8 = 2;

/// gRPC's stream, in envelopes.
#[derive(Debug)]
pub(super) struct EnvelopeStream {
    method: Method,
    codec: Codec,
    /// None: there was no call.
    body: Option<ResponseBody>,
    /// Of gRPC's messages, which may come in pieces.
    received: BytesMut,
    /// How the stream has ended; None while it goes on.
    ended: Option<Status>,
    is_over: bool,
}

impl EnvelopeStream {
    /// `ended` if there was an error before any message.
    pub(super) fn new(method: Method, codec: Codec, body: ResponseBody, ended: Option<Status>) -> Self {
        Self { method, codec, body: Some(body), received: BytesMut::new(), ended, is_over: false }
    }
}

impl Stream for EnvelopeStream {
    type Item = Bytes;

    /// The next envelope, the last of which says the end.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            if let Some(message) = this.next_message() {
                match this.write(message) {
                    Ok(envelope) => return Poll::Ready(Some(envelope)),
                    Err(status) => this.ended = Some(status),
                }
            }
            if let Some(status) = &this.ended {
                let end =
                    if status.code() == Code::Ok { json!({}) } else { json!({ "error": connect_error::json(status) }) };
                this.is_over = true;
                return Poll::Ready(Some(envelope(END, end.to_string().as_bytes())));
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(context)) {
                None => this.ended = Some(Status::unknown("the stream ended without a status")),
                Some(Err(status)) => this.ended = Some(status),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.received.put(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        this.ended = Some(Status::from_header_map(&trailers).unwrap_or_else(|| Status::ok("")));
                    }
                },
            }
        }
    }
}

impl EnvelopeStream {
    /// Only the end of a stream.
    pub(super) fn failed(method: Method, codec: Codec, status: Status) -> Self {
        Self { method, codec, body: None, received: BytesMut::new(), ended: Some(status), is_over: false }
    }

    /// A whole message, if one is there.
    fn next_message(&mut self) -> Option<Bytes> {
        let prefix = self.received.get(1..PREFIX_BYTES)?;
        let length = usize::try_from(u32::from_be_bytes(prefix.try_into().ok()?)).ok()?;
        if self.received.len() < PREFIX_BYTES + length {
            return None;
        }
        self.received.advance(PREFIX_BYTES);
        Some(self.received.split_to(length).freeze())
    }

    fn write(&self, message: Bytes) -> Result<Bytes, Status> {
        match self.codec {
            Codec::Proto => Ok(envelope(0, &message)),
            Codec::Json => json::reply(self.method, &message).map(|json| envelope(0, &json)).map_err(|failed| {
                error!(error = &failed as &dyn std::error::Error, "a message could not be written as JSON");
                Status::internal("internal error")
            }),
        }
    }
}

fn envelope(flags: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    bytes.put_u8(flags);
    // Messages are far smaller.
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(message);
    bytes.freeze()
}
