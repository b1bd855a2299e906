//! The HTTP response of an answer: which failure becomes which response is decided here alone.

use http::{Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use tracing::error;

use super::response_body::ResponseBody;
use crate::grpc::{
    answer::{Answer, Content, GetReply, Until},
    metrics::RequestRecord,
    refusal::{Outcome, Refusal},
    request_id::RequestId,
    service::reply,
    status,
};

/// The response; `record` ends with it.
pub(crate) fn response(answer: Answer, mut record: RequestRecord) -> Response<ResponseBody> {
    let Answer { content, id, span, until } = answer;
    record.continue_in(span);
    let mut response = match content {
        Content::Sealed(reply) => sealed(reply, record),
        Content::Encoded(response) => encoded(response, id.clone(), until, record),
        Content::Refused(refusal) => refused(&refusal, &id, record),
    };
    id.stamp(response.headers_mut());
    response
}

fn sealed(reply: GetReply, record: RequestRecord) -> Response<ResponseBody> {
    record.span().record("userdata.status", reply.status);
    let mut response = Response::new(ResponseBody::sealed(reply.sealed, record));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    headers.insert(reply::X_CACHE, reply.x_cache);
    response
}

fn encoded(
    response: Response<Body>,
    id: RequestId,
    until: Option<Until>,
    mut record: RequestRecord,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    // The reply to a Get takes the place of its message, whose document tonic would copy.
    if let Some(reply) = head.extensions.remove::<GetReply>() {
        return sealed(reply, record);
    }
    let Some(status) = Status::from_header_map(&head.headers) else {
        return Response::from_parts(head, ResponseBody::encoded(body, until, id, record));
    };
    // An error without a message has its status in the headers and nothing after them.
    status::complete(&mut head.headers, &id);
    record.ends(Outcome::Answered, status.code());
    Response::from_parts(head, ResponseBody::empty(record))
}

fn refused(refusal: &Refusal, id: &RequestId, mut record: RequestRecord) -> Response<ResponseBody> {
    if let Refusal::Panicked = refusal {
        id.in_log(|| error!("a handler panicked"));
    }
    let status = status::of(refusal, id);
    record.ends(refusal.outcome(), status.code());
    let (mut head, ()) = status.into_http().into_parts();
    // Clients that do not know gRPC take this for an error, too.
    if let Refusal::NotGrpc = refusal {
        head.status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    Response::from_parts(head, ResponseBody::empty(record))
}
