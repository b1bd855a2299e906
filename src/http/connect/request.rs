//! What a request of Connect's protocol says apart from its message.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request};
use tonic::Status;

use crate::{
    grpc::{method::Method, refusal::Refusal, request_id::RequestId, status},
    http::message::{Codec, PREFIX_BYTES, Translation},
};

const VERSION: &str = "connect-protocol-version";
const TIMEOUT: &str = "connect-timeout-ms";
const STREAM_ENCODING: &str = "connect-content-encoding";
/// Clients write base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A call as the head of its request says it.
#[derive(Debug)]
pub(super) struct ConnectCall {
    pub(super) translation: Translation,
    /// In milliseconds.
    pub(super) timeout: Option<u64>,
    /// The encoded message of a GET, from its query.
    pub(super) message: Option<Bytes>,
}

/// Why a request is no call.
#[derive(Debug)]
pub(super) enum NotConnect {
    /// Another content type than these.
    Unsupported {
        accepted: &'static str,
    },
    Malformed(Status),
}

impl ConnectCall {
    pub(super) fn of(method: Method, head: &request::Parts, bytes_max: usize) -> Result<Self, NotConnect> {
        let headers = &head.headers;
        let timeout = timeout(headers)?;
        if head.method == http::Method::GET {
            return Self::in_query(method, head.uri.query().unwrap_or_default(), timeout, bytes_max);
        }
        if headers.get(VERSION).is_some_and(|version| version != "1") {
            return Err(malformed("connect-protocol-version", "must be 1"));
        }
        let is_enveloped = method == Method::Warm;
        let codec = codec(headers, is_enveloped)?;
        let encoding = if is_enveloped { STREAM_ENCODING } else { header::CONTENT_ENCODING.as_str() };
        if headers.get_all(encoding).iter().count() > 1 {
            return Err(malformed(encoding, "must be one"));
        }
        let is_gzip = is_gzip(headers.get(encoding).map(HeaderValue::as_bytes), encoding)?;
        Ok(Self {
            translation: Translation { method, codec, is_enveloped, is_gzip, bytes_max },
            timeout,
            message: None,
        })
    }

    fn in_query(method: Method, query: &str, timeout: Option<u64>, bytes_max: usize) -> Result<Self, NotConnect> {
        let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let find = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
        if find("connect").is_some_and(|version| version != "v1") {
            return Err(malformed("connect", "must be v1"));
        }
        let codec = match find("encoding") {
            Some("proto") => Codec::Proto,
            Some("json") => Codec::Json,
            _ => return Err(malformed("encoding", "must be json or proto")),
        };
        let is_gzip = is_gzip(find("compression").map(str::as_bytes), "compression")?;
        let message = find("message").unwrap_or_default();
        let translation = Translation { method, codec, is_enveloped: false, is_gzip, bytes_max };
        let decoded = match find("base64") {
            Some("1") => BASE64.decode(message).map_err(|_| malformed("message", "must be base64"))?,
            _ => message.as_bytes().to_vec(),
        };
        if decoded.len() > bytes_max {
            return Err(malformed("message", "is too large"));
        }
        let message = translation.translate(&decoded).map_err(refused)?.slice(PREFIX_BYTES..);
        Ok(Self { translation, timeout, message: Some(message) })
    }

    /// Whether the answer may be compared with one that the caller has.
    pub(super) fn is_get(&self) -> bool {
        self.message.is_some()
    }
}

/// The content type of messages.
pub(super) fn content_type(codec: Codec, is_stream: bool) -> HeaderValue {
    HeaderValue::from_static(match (codec, is_stream) {
        (Codec::Proto, false) => "application/proto",
        (Codec::Json, false) => "application/json",
        (Codec::Proto, true) => "application/connect+proto",
        (Codec::Json, true) => "application/connect+json",
    })
}

/// How the messages of a request are written.
pub(super) fn codec(headers: &HeaderMap, is_stream: bool) -> Result<Codec, NotConnect> {
    let sent = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    // A charset may follow.
    let sent = sent.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |codec| sent.eq_ignore_ascii_case(content_type(codec, is_stream).as_bytes());
    [Codec::Json, Codec::Proto].into_iter().find(|codec| is(*codec)).ok_or(NotConnect::Unsupported {
        accepted: if is_stream {
            "application/connect+json, application/connect+proto"
        } else {
            "application/json, application/proto"
        },
    })
}

fn timeout(headers: &HeaderMap) -> Result<Option<u64>, NotConnect> {
    let Some(timeout) = headers.get(TIMEOUT) else { return Ok(None) };
    let digits =
        timeout.to_str().ok().filter(|text| text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(milliseconds) => Ok(Some(milliseconds)),
        None => Err(malformed(TIMEOUT, "must be one to ten digits")),
    }
}

fn is_gzip(encoding: Option<&[u8]>, field: &str) -> Result<bool, NotConnect> {
    match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        // Connect's word for it is unimplemented.
        Some(_) => Err(NotConnect::Malformed(Status::unimplemented(format!(
            "the message's compression ({field}) is not supported; supported are: identity, gzip"
        )))),
    }
}

fn malformed(field: &str, description: &str) -> NotConnect {
    refused(Refusal::invalid(field, description))
}

fn refused(refusal: Refusal) -> NotConnect {
    NotConnect::Malformed(status::of(&refusal, &RequestId::create()))
}
