//! One call through the layers of gRPC's port.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Response, header};
use tonic::{Code, metadata::GRPC_CONTENT_TYPE};
use tower::{BoxError, ServiceExt as _};

use super::{FrontState, body::HttpBody, message::RequestMessage, reply::ERROR_REASON};
use crate::grpc::{
    method::Method, middleware::response_body::ResponseBody, reason::Reason, refusal::Outcome, request_id::RequestId,
    transport::peer::Peer,
};

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What a request needs to be answered.
pub(super) struct Exchange<'a> {
    pub(super) front: &'a FrontState,
    pub(super) peer: Peer,
    /// For answers without a call.
    pub(super) id: RequestId,
}

impl Exchange<'_> {
    /// gRPC's response to a call with a request's headers. `timeout` is the caller's, in milliseconds.
    pub(super) async fn call<B>(
        &self,
        method: Method,
        mut headers: HeaderMap,
        timeout: Option<u64>,
        message: RequestMessage<B>,
    ) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        // What is said about the message of the HTTP request is not true of the translated one.
        for of_the_message in [
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
            header::TRANSFER_ENCODING,
            HeaderName::from_static("grpc-encoding"),
            TIMEOUT,
        ] {
            headers.remove(of_the_message);
        }
        headers.insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        if let Some(timeout) = timeout {
            headers.insert(TIMEOUT, grpc_timeout(timeout));
        }
        let mut request = Request::new(message);
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = format!("/{}", method.name()).parse().expect("a method's name is a path");
        *request.headers_mut() = headers;
        let Ok(response) =
            self.front.stack.translated(Arc::clone(&self.front.metrics), self.peer.clone()).oneshot(request).await;
        response
    }

    /// A response to a request that no call can be made of.
    pub(super) fn refused(&self, method: Method, code: Code, mut response: Response<HttpBody>) -> Response<HttpBody> {
        self.id.clone().stamp(response.headers_mut());
        let reason = match code {
            Code::Ok => None,
            Code::InvalidArgument => Some(Reason::InvalidArgument),
            Code::PermissionDenied => Some(Reason::PermissionDenied),
            _ => Some(Reason::Unimplemented),
        };
        if let Some(reason) = reason {
            response.headers_mut().insert(ERROR_REASON, HeaderValue::from_static(reason.name()));
        }
        let mut record = self.front.metrics.begin(method);
        record.on(self.peer.clone());
        record.ends(Outcome::Answered, code);
        response
    }
}

/// At most eight digits, so in seconds if it is long.
fn grpc_timeout(milliseconds: u64) -> HeaderValue {
    let text = match milliseconds {
        0..=99_999_999 => format!("{milliseconds}m"),
        longer => format!("{}S", (longer / 1000).min(99_999_999)),
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        for (milliseconds, header) in
            [(0, "0m"), (1500, "1500m"), (99_999_999, "99999999m"), (100_000_000, "100000S"), (u64::MAX, "99999999S")]
        {
            assert_eq!(grpc_timeout(milliseconds), header);
        }
    }
}
