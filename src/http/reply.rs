//! gRPC's response to a call, taken apart: a document, a message, or an error.

use std::pin::pin;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::future::{Either, poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use prost::Message as _;
use tonic::{Code, Status};

use super::{body::HttpBody, message::PREFIX_BYTES};
use crate::{
    grpc::{metrics::RequestRecord, middleware::response_body::ResponseBody, service::reply::X_CACHE},
    model::SectionSet,
    proto::{
        SealedResponse,
        google::rpc,
        v1::{CacheInfo, GetComprehensiveUserDataResponse, SectionReport},
    },
};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The reason of an error, for callers that read no details.
pub(super) const ERROR_REASON: HeaderName = HeaderName::from_static("x-error-reason");
/// The token of a document or invalidation, for callers that read their own writes.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-userdata-token");
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The reply to one call.
pub(super) struct Reply {
    /// What the response says in headers: the request's id, x-cache, how long to wait.
    pub(super) headers: HeaderMap,
    pub(super) content: Result<ReplyContent, Status>,
}

/// What there is if it is no error.
pub(super) enum ReplyContent {
    /// A document that is encoded already. Its request ends with its body.
    Document(SealedResponse, RequestRecord),
    Message(Bytes),
}

/// What a reply says of a document.
pub(super) struct Described {
    pub(super) info: CacheInfo,
    pub(super) reports: Vec<SectionReport>,
    pub(super) sections: SectionSet,
}

impl Reply {
    /// Collects the only message, if it is not a document that is there.
    pub(super) async fn of(response: Response<ResponseBody>) -> Self {
        let (head, body) = response.into_parts();
        let mut headers = kept(&head.headers);
        if let Some(status) = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok) {
            explain(&mut headers, &status);
            return Self { headers, content: Err(status) };
        }
        let content = match body.into_sealed() {
            Either::Left((sealed, record)) => Ok(ReplyContent::Document(sealed, record)),
            Either::Right(body) => collected(body).await.map(ReplyContent::Message),
        };
        if let Err(status) = &content {
            explain(&mut headers, status);
        }
        Self { headers, content }
    }
}

impl Described {
    pub(super) fn of(sealed: &SealedResponse) -> Self {
        let reply = GetComprehensiveUserDataResponse::decode(sealed.other_fields()).unwrap_or_default();
        let sections = reply.sections.iter().map(SectionReport::section).collect::<SectionSet>();
        let is_whole = crate::model::section::SECTIONS.iter().all(|section| sections.contains(*section));
        Self {
            info: reply.cache_info.unwrap_or_default(),
            reports: reply.sections,
            sections: if is_whole { SectionSet::ALL } else { sections },
        }
    }
}

/// The headers of a response that mean something outside of gRPC.
pub(super) fn kept(headers: &HeaderMap) -> HeaderMap {
    let names = ["x-request-id", X_CACHE, PUSHBACK];
    let kept = names.iter().filter_map(|name| Some((HeaderName::from_static(name), headers.get(*name)?.clone())));
    kept.collect()
}

/// The reason, and how long to wait, as HTTP says them.
fn explain(headers: &mut HeaderMap, status: &Status) {
    if let Some(reason) = reason(status).and_then(|reason| HeaderValue::try_from(reason).ok()) {
        headers.insert(ERROR_REASON, reason);
    }
    if status.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = tonic_types::StatusExt::get_details_retry_info(status).and_then(|info| info.retry_delay) {
        // Whole seconds, and not too early.
        headers.insert(header::RETRY_AFTER, wait.as_millis().div_ceil(1000).to_string().parse().expect("digits"));
    }
}

/// The reason of a status, from its details.
pub(super) fn reason(status: &Status) -> Option<String> {
    tonic_types::StatusExt::get_details_error_info(status).map(|info| info.reason)
}

/// The details of a status.
pub(super) fn details(status: &Status) -> Vec<crate::proto::google::protobuf::Any> {
    rpc::Status::decode(status.details()).map(|status| status.details).unwrap_or_default()
}

/// The one message of a body, without its prefix.
async fn collected(body: ResponseBody) -> Result<Bytes, Status> {
    let mut body = pin!(body);
    let mut received = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        match frame?.into_data() {
            Ok(data) => received.put(data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if let Some(status) = Status::from_header_map(&trailers).filter(|status| status.code() != Code::Ok) {
                    return Err(status);
                }
            }
        }
    }
    received.advance(PREFIX_BYTES.min(received.len()));
    Ok(received.freeze())
}

/// The tags of documents that a caller has.
pub(super) fn known_tags(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()
}

/// What is one caller's is kept by no one else, and not without asking.
pub(super) fn keep_private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("authorization"));
}

/// Sends no document that the caller has.
pub(super) fn leave_out_if_known(response: &mut Response<HttpBody>, known: &[HeaderValue]) {
    if is_known(known, response.headers().get(header::ETAG)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.body_mut().without_content();
    }
}

/// Whether a caller has the document of this tag already (RFC 9110, section 13.1.2).
fn is_known(none_match: &[HeaderValue], tag: Option<&HeaderValue>) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()).map(opaque) else { return false };
    let lists = none_match.iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|known| known.trim() == "*" || opaque(known) == tag)
}

/// The tag of a document: the same for each of its forms, so a weak one.
pub(super) fn etag(hash: u64) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{hash:016x}\"")).expect("hex digits")
}
