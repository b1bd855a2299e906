//! Errors as Connect writes them.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value as Json, json};
use tonic::{Code, Status};

use crate::http::{
    body::HttpBody,
    reply::{JSON, details},
};

/// The response to a call that failed.
pub(super) fn response(mut headers: HeaderMap, status: &Status) -> Response<HttpBody> {
    headers.insert(header::CONTENT_TYPE, JSON);
    let mut response = Response::new(HttpBody::whole(Bytes::from(json(status).to_string())));
    *response.status_mut() = http_status(status.code());
    *response.headers_mut() = headers;
    response
}

/// A status as JSON, with the details in base64.
pub(super) fn json(status: &Status) -> Json {
    let mut json = json!({ "code": name(status.code()), "message": status.message() });
    let details: Vec<_> = details(status)
        .into_iter()
        .map(|detail| {
            let name = detail.type_url.rsplit('/').next().unwrap_or_default();
            json!({ "type": name, "value": BASE64_STANDARD_NO_PAD.encode(&detail.value) })
        })
        .collect();
    if !details.is_empty() {
        json["details"] = details.into();
    }
    json
}

fn name(code: Code) -> &'static str {
    match code {
        // No error has it.
        Code::Ok | Code::Unknown => "unknown",
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The HTTP status of a code, as Connect's protocol has it.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Cancelled => StatusCode::from_u16(499).expect("three digits"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
