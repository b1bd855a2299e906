//! Requests of another protocol are refused.
//!
//! A web page can make its reader's browser send forms and texts anywhere, with the reader's certificate, but not this
//! content type without asking the server first. tonic accepts any.

use http::header::CONTENT_TYPE;

use super::filter::CallFilter;
use crate::grpc::{call::Call, refusal::Refusal};

/// Passes gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentType;

impl CallFilter for ContentType {
    fn check<B>(&mut self, call: &mut Call<B>) -> Result<(), Refusal> {
        let is_grpc = |content_type: &http::HeaderValue| content_type.as_bytes().starts_with(b"application/grpc");
        if call.headers().get(CONTENT_TYPE).is_some_and(is_grpc) { Ok(()) } else { Err(Refusal::NotGrpc) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{method::Method, testing};

    #[test]
    fn only_grpc_passes() {
        for (content_type, passes) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/json", false),
            ("text/plain", false),
        ] {
            let mut call = testing::call(Method::Get, &[("content-type", content_type)]);
            assert_eq!(ContentType.check(&mut call).is_ok(), passes, "{content_type}");
        }
        let mut without = testing::call(Method::Get, &[]);
        assert!(ContentType.check(&mut without).is_err());
    }
}
