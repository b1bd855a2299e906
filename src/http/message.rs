//! The message of a request: an HTTP body, read and translated when a layer below asks for it.
//!
//! The layers ask after they have admitted the caller, so no body is read for others. A body is bounded in bytes before
//! and after its decompression.

use std::{
    io::Read as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body::{Body, Frame};
use tower::BoxError;

use super::json;
use crate::grpc::{
    method::Method,
    refusal::{Refusal, RefusedMessage},
};

/// gRPC's prefix of a message, and Connect's of a message of a stream: flags and a length.
pub(super) const PREFIX_BYTES: usize = 5;
/// The flag of a compressed message in a stream.
const COMPRESSED: u8 = 1;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Proto,
    Json,
}

/// What an HTTP body has to become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Translation {
    pub(super) method: Method,
    pub(super) codec: Codec,
    /// The body is one message in an envelope, as streams have them.
    pub(super) is_enveloped: bool,
    /// The message is compressed, or may be if it is enveloped.
    pub(super) is_gzip: bool,
    pub(super) bytes_max: usize,
}

/// A message with gRPC's prefix.
#[derive(Debug)]
pub(super) enum RequestMessage<B> {
    /// None once it is handed over.
    Ready(Option<Bytes>),
    Arriving {
        body: B,
        received: BytesMut,
        translation: Translation,
    },
}

impl<B> RequestMessage<B> {
    /// An encoded message.
    pub(super) fn ready(message: &[u8]) -> Self {
        Self::Ready(Some(prefixed(message)))
    }

    /// The message in a body.
    pub(super) fn in_body(body: B, translation: Translation) -> Self {
        Self::Arriving { body, received: BytesMut::new(), translation }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for RequestMessage<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let whole = match this {
            Self::Ready(message) => return Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Arriving { body, received, translation } => {
                ready!(poll_whole(body, received, *translation, context))
            }
        };
        *this = Self::Ready(None);
        Poll::Ready(Some(whole.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Ready(None))
    }
}

fn poll_whole<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin>(
    body: &mut B,
    received: &mut BytesMut,
    translation: Translation,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, BoxError>> {
    while !body.is_end_stream() {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            None => break,
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            Some(Ok(frame)) => received.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
        let bytes_max = translation.bytes_max + if translation.is_enveloped { PREFIX_BYTES } else { 0 };
        if received.len() > bytes_max {
            let refusal = too_large(received.len(), translation.bytes_max);
            return Poll::Ready(Err(RefusedMessage(refusal).into()));
        }
    }
    let message = translation.translate(&received.split());
    Poll::Ready(message.map_err(|refusal| RefusedMessage(refusal).into()))
}

impl Translation {
    /// The message with gRPC's prefix.
    pub(super) fn translate(self, body: &[u8]) -> Result<Bytes, Refusal> {
        let (message, is_gzip) = if self.is_enveloped { self.only_envelope(body)? } else { (body, self.is_gzip) };
        let unzipped;
        let message = if is_gzip {
            unzipped = unzip(message, self.bytes_max)?;
            &unzipped
        } else {
            message
        };
        match self.codec {
            Codec::Proto => Ok(prefixed(message)),
            Codec::Json => json::encode_request(self.method, message).map(|message| prefixed(&message)),
        }
    }

    fn only_envelope(self, body: &[u8]) -> Result<(&[u8], bool), Refusal> {
        let Some((prefix, message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
            return Err(Refusal::NotOneMessage);
        };
        let [flags, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if message.len() > length {
            return Err(Refusal::NotOneMessage);
        }
        if message.len() < length || flags & !COMPRESSED != 0 {
            return Err(Refusal::invalid("message", "is no whole envelope"));
        }
        if flags == COMPRESSED && !self.is_gzip {
            return Err(Refusal::invalid("message", "is compressed, and no header says how"));
        }
        Ok((message, flags == COMPRESSED))
    }
}

fn unzip(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut unzipped = Vec::new();
    // One byte more, to see that it is too large.
    let limited = GzDecoder::new(bytes).take(bytes_max as u64 + 1).read_to_end(&mut unzipped);
    match limited {
        Err(_) => Err(Refusal::invalid("message", "is not gzip")),
        Ok(length) if length > bytes_max => Err(too_large(length, bytes_max)),
        Ok(_) => Ok(unzipped),
    }
}

fn too_large(bytes: usize, bytes_max: usize) -> Refusal {
    Refusal::MessageTooLarge { bytes, bytes_max }
}

fn prefixed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    bytes.put_u8(0);
    // Larger messages have been refused.
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(message);
    bytes.freeze()
}
