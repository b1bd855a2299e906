//! A hit is given at once or takes the slow path, by what its request looks like: callers see no difference.

use axum::body::Body;
use bytes::{BufMut as _, Bytes};
use futures::stream;
use http::{HeaderMap, Request};
use http_body::Body as _;
use prost::Message as _;
use tower::Service as _;
use userdata::{
    cache::ReadOptions,
    grpc::transport::peer::Peer,
    proto::v1::{CacheInfo, CacheStatus, GetComprehensiveUserDataResponse},
};

use testkit::instance::{Instance, framed_request, query};

const PATH: &str = "http://localhost/userdata.v1.UserDataService/GetComprehensiveUserData";

fn plain(body: Body) -> Request<Body> {
    Request::post(PATH)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-request-id", "the same")
        .body(body)
        .unwrap()
}

fn with(name: &'static str, value: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

fn in_frames(of: usize) -> Body {
    let message = framed_request();
    let frames: Vec<_> =
        message.chunks(of).map(|frame| Ok::<_, std::io::Error>(Bytes::copy_from_slice(frame))).collect();
    Body::from_stream(stream::iter(frames))
}

async fn answered(instance: &Instance, request: Request<Body>) -> (HeaderMap, GetComprehensiveUserDataResponse) {
    let (head, body) = instance.stack.service(Peer::default()).call(request).await.unwrap().into_parts();
    let mut body = std::pin::pin!(body);
    let (mut said, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        match frame.unwrap().into_data() {
            Ok(data) => said.put(data),
            Err(end) => trailers = end.into_trailers().unwrap(),
        }
    }
    assert_eq!(trailers["grpc-status"], "0", "{head:?}");
    assert_eq!(usize::try_from(u32::from_be_bytes(said[1..5].try_into().unwrap())).unwrap(), said.len() - 5);
    (head.headers, GetComprehensiveUserDataResponse::decode(&said[5..]).unwrap())
}

/// Without what is of one reply.
fn lasting(info: CacheInfo) -> CacheInfo {
    CacheInfo { timestamp: None, age: None, token: String::new(), ..info }
}

#[tokio::test]
async fn a_hit_is_the_same_whichever_way_it_is_given() {
    let instance = Instance::start().await;
    instance.cache.get(&query(), &ReadOptions::default()).await.unwrap();
    let (headers, at_once) = answered(&instance, plain(framed_request().into())).await;
    assert_eq!(at_once.cache_info.as_ref().unwrap().status(), CacheStatus::HitMemory);

    let whole = || plain(framed_request().into());
    for (way, request) in [
        ("in one frame of a stream", plain(in_frames(1000))),
        ("in two frames", plain(in_frames(5))),
        ("byte by byte", plain(in_frames(1))),
        ("by the long name of protobuf", with("content-type", "application/grpc+proto", whole())),
        ("said not to be compressed", with("grpc-encoding", "identity", whole())),
        ("with a deadline", with("grpc-timeout", "5S", whole())),
    ] {
        let (others, answer) = answered(&instance, request).await;
        assert_eq!(names(&others), names(&headers), "{way}");
        assert_eq!(
            (&others["x-request-id"], &others["content-type"]),
            (&headers["x-request-id"], &headers["content-type"])
        );
        assert!(others["x-cache"].to_str().unwrap().starts_with("HIT; tier=memory; age="), "{way}: {others:?}");
        assert_eq!((&answer.data, &answer.sections), (&at_once.data, &at_once.sections), "{way}");
        assert_eq!(answer.cache_info.map(lasting), at_once.cache_info.clone().map(lasting), "{way}");
    }
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}
