//! Connect's protocol, version 1, for every RPC of the contract: unary calls and the stream of WarmCache, as JSON or
//! protobuf, plain or gzip; and GET for what has no side effects. Replies are not compressed.
//!
//! Source: connectrpc.com/docs/protocol.

mod error;
mod request;
mod stream;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};
use tower::BoxError;
use tracing::error;

use self::{
    request::{ConnectCall, NotConnect, codec, content_type},
    stream::EnvelopeStream,
};
use super::{
    body::HttpBody,
    exchange::Exchange,
    json::{self, JsonError},
    message::{Codec, RequestMessage},
    reply::{self, Described, Reply, ReplyContent},
};
use crate::{
    cache::tiers::memory::{JsonEpoch, JsonForm},
    grpc::{method::Method, metrics::RequestRecord},
    proto::{
        SealedResponse,
        v1::{CacheInfo, SectionReport},
    },
};

/// What a Get's reply says beside its document.
#[derive(Serialize)]
struct BesideDocument<'a> {
    cache_info: &'a CacheInfo,
    sections: &'a [SectionReport],
}

/// The response to a call.
pub(super) async fn answer<B>(exchange: &Exchange<'_>, method: Method, request: Request<B>) -> Response<HttpBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (head, body) = request.into_parts();
    let call = match ConnectCall::of(method, &head, exchange.front.request_bytes_max) {
        Ok(call) => call,
        Err(NotConnect::Unsupported { accepted }) => {
            let mut response = Response::new(HttpBody::whole(Bytes::new()));
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response.headers_mut().insert("accept-post", HeaderValue::from_static(accepted));
            return exchange.refused(method, Code::Unimplemented, response);
        }
        Err(NotConnect::Malformed(status)) => {
            let code = status.code();
            // A stream says every error at its end.
            if method == Method::Warm
                && let Ok(codec) = codec(&head.headers, true)
            {
                let ended = EnvelopeStream::failed(method, codec, status);
                let mut response = Response::new(HttpBody::Stream(Box::pin(ended)));
                response.headers_mut().insert(header::CONTENT_TYPE, content_type(codec, true));
                return exchange.refused(method, code, response);
            }
            return exchange.refused(method, code, error::response(HeaderMap::new(), &status));
        }
    };
    let epoch = exchange.front.documents.epoch();
    let known = reply::known_tags(&head.headers);
    let message = match &call.message {
        Some(message) => RequestMessage::ready(message),
        None => RequestMessage::in_body(body, call.translation),
    };
    let response = exchange.call(method, head.headers, call.timeout, message).await;
    if call.translation.is_enveloped {
        return streaming(method, call.translation.codec, response);
    }
    let mut response = unary(exchange, method, &call, epoch, Reply::of(response).await);
    if call.is_get() {
        reply::keep_private(response.headers_mut());
        reply::leave_out_if_known(&mut response, &known);
    }
    response
}

fn unary(
    exchange: &Exchange<'_>,
    method: Method,
    call: &ConnectCall,
    epoch: JsonEpoch,
    reply: Reply,
) -> Response<HttpBody> {
    let Reply { mut headers, content } = reply;
    let codec = call.translation.codec;
    let body = match content {
        Err(status) => return error::response(headers, &status),
        Ok(ReplyContent::Document(sealed, record)) if codec == Codec::Proto && !call.is_get() => {
            Ok(HttpBody::document(sealed.into_message(), record))
        }
        Ok(ReplyContent::Document(sealed, record)) => document(exchange, codec, epoch, &mut headers, sealed, record),
        Ok(ReplyContent::Message(message)) => match codec {
            Codec::Proto => Ok(HttpBody::whole(message)),
            Codec::Json => json::reply(method, &message).map(|json| HttpBody::whole(json.into())),
        },
    };
    match body {
        Ok(body) => {
            headers.insert(header::CONTENT_TYPE, content_type(codec, false));
            let mut response = Response::new(body);
            *response.headers_mut() = headers;
            response
        }
        Err(failed) => {
            error!(error = &failed as &dyn std::error::Error, "a reply could not be written as JSON");
            error::response(headers, &Status::internal("internal error"))
        }
    }
}

/// A document with its tag, as JSON or as it is.
fn document(
    exchange: &Exchange<'_>,
    codec: Codec,
    epoch: JsonEpoch,
    headers: &mut HeaderMap,
    sealed: SealedResponse,
    record: RequestRecord,
) -> Result<HttpBody, JsonError> {
    let described = Described::of(&sealed);
    let make = || json::document(sealed.data(), described.sections);
    let documents = &exchange.front.documents;
    let document =
        documents.get_or_make(epoch, sealed.data(), described.sections.is_all(), JsonForm::Contract, make)?;
    headers.insert(header::ETAG, reply::etag(document.hash));
    if codec == Codec::Proto {
        return Ok(HttpBody::document(sealed.into_message(), record));
    }
    let beside = BesideDocument { cache_info: &described.info, sections: &described.reports };
    Ok(HttpBody::document(json::around(&beside, document.json)?, record))
}

fn streaming(
    method: Method,
    codec: Codec,
    response: Response<crate::grpc::middleware::response_body::ResponseBody>,
) -> Response<HttpBody> {
    let (head, body) = response.into_parts();
    let status = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok);
    let mut answer = Response::new(HttpBody::Stream(Box::pin(EnvelopeStream::new(method, codec, body, status))));
    *answer.headers_mut() = reply::kept(&head.headers);
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type(codec, true));
    answer
}
