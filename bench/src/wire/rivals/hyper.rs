//! The lower bound: hyper's HTTP/2 with a constant gRPC reply of one `Bytes`.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::task::TaskTracker;

use super::Listener;

pub(super) async fn serve(listener: Listener, reply: Bytes) {
    let length = u32::try_from(reply.len()).unwrap().to_be_bytes();
    let framed = Bytes::from([&[0], &length[..], &reply].concat());
    let connections = TaskTracker::new();
    loop {
        let stream = listener.accept().await;
        let framed = framed.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let framed = framed.clone();
            async move {
                request.into_body().collect().await.unwrap();
                let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
                let body = Full::new(framed).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
                let response = Response::builder().header("content-type", "application/grpc").body(body);
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        let mut settings = http2::Builder::new(TokioExecutor::new());
        // As many as userdata allows.
        settings.max_concurrent_streams(256);
        connections.spawn(settings.serve_connection(TokioIo::new(stream), answer));
    }
}
