//! Calls that are HTTP/2 and not gRPC, and messages that are not what their frame says: each is told so.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tonic::Code;

use super::ground;
use testkit::{
    ask::{of, reason},
    raw::{Connection, GET, framed, framed_bytes},
    wire::{END_HEADERS, END_STREAM, End, HEADERS, Wire, block, frame},
};

/// A call with another method, path or header than a client's.
fn request(address: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

#[tokio::test]
async fn calls_that_are_not_grpc_are_told_so() {
    let grpc = ("content-type", "application/grpc");
    let te = ("te", "trailers");
    let post = Method::POST;
    let cases = [
        ("no content type", post.clone(), GET, vec![te], Code::InvalidArgument),
        ("JSON", post.clone(), GET, vec![te, ("content-type", "application/json")], Code::InvalidArgument),
        ("gRPC-Web", post.clone(), GET, vec![te, ("content-type", "application/grpc-web")], Code::Ok),
        ("GET", Method::GET, GET, vec![te, grpc], Code::Ok),
        ("no te", post.clone(), GET, vec![grpc], Code::Ok),
        ("another encoding", post.clone(), GET, vec![te, grpc, ("grpc-encoding", "br")], Code::Unimplemented),
        ("no such method", post.clone(), "/userdata.v1.UserDataService/Get", vec![te, grpc], Code::Unimplemented),
        ("no such service", post, "/../etc/passwd", vec![te, grpc], Code::Unimplemented),
    ];
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            let connection = Connection::open(address).await;
            for (case, method, path, headers, code) in &cases {
                let body = framed(&of("1"));
                let (http, status) = connection.ask(request(address, method.clone(), path, headers), body).await;
                let http_expected = match *code {
                    Code::InvalidArgument => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    _ => StatusCode::OK,
                };
                let code_told = status.map(|status| status.code());
                assert_eq!((http, code_told), (http_expected, Some(*code)), "{case}");
            }
        })
        .await;
}

#[tokio::test]
async fn messages_that_are_not_what_their_frame_says_are_refused() {
    let asking = framed(&of("1"));
    let nest = |tag: u8, inner: &[u8]| {
        let mut bytes = vec![tag];
        prost::encode_length_delimiter(inner.len(), &mut bytes).unwrap();
        [bytes, inner.to_vec()].concat()
    };
    // An object with a member that is an object, and so on.
    let nested = |levels: usize| {
        (0..levels).fold(vec![], |inner: Vec<u8>, _| {
            nest(0x0a, &[&[0x0a, 1, b'k'][..], &nest(0x12, &nest(0x2a, &inner))].concat())
        })
    };
    let parameters = [&[0x0a, 1, b'1'][..], &nest(0x22, &nested(2000))].concat();
    let cases = [
        ("nothing", Code::Unimplemented, Bytes::new()),
        ("a prefix cut", Code::Internal, asking.slice(..3)),
        ("only a prefix", Code::Internal, asking.slice(..5)),
        ("a message cut", Code::Internal, asking.slice(..asking.len() - 1)),
        ("bytes behind it", Code::Unimplemented, [&asking[..], &[0, 0, 0]].concat().into()),
        ("two messages", Code::Unimplemented, [&asking[..], &asking].concat().into()),
        ("a flag that nobody knows", Code::Internal, [&[2][..], &asking[1..]].concat().into()),
        ("compressed, nobody says how", Code::Internal, [&[1][..], &asking[1..]].concat().into()),
        ("more than 64 KiB", Code::OutOfRange, framed(&of(&"x".repeat(64 * 1024)))),
        ("a million bytes", Code::OutOfRange, framed_bytes(&[0x50; 1_000_000])),
        ("2 GiB announced", Code::OutOfRange, Bytes::from_static(&[0, 0x7f, 0xff, 0xff, 0xff, 1])),
        ("2,000 levels", Code::InvalidArgument, framed_bytes(&parameters)),
        ("groups in groups", Code::Internal, framed_bytes(&[0x0b; 60_000])),
        ("numbers without end", Code::Internal, framed_bytes(&[0x80; 60_000])),
        ("no UTF-8", Code::Internal, framed_bytes(&[0x0a, 4, 0xf0, 0x28, 0x8c, 0xbc])),
        (
            "a length beyond all",
            Code::Internal,
            framed_bytes(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
    ];
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            let connection = Connection::open(address).await;
            for (case, code, bytes) in &cases {
                let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
                let (_, status) = connection.ask(request(address, Method::POST, GET, &grpc), bytes.clone()).await;
                assert_eq!(status.map(|status| status.code()), Some(*code), "{case}");
            }
        })
        .await;
}

/// gRPC's rules of compression ask for the condition and for what is supported.
#[tokio::test]
async fn an_unsupported_compression_is_named_with_what_is_supported() {
    let ground = ground(&[]).await;
    let connection = Connection::open(ground.server.address).await;
    for encoding in ["deflate", "zstd", "snappy"] {
        let grpc = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", encoding)];
        let asked = request(ground.server.address, Method::POST, GET, &grpc);
        let (_, status) = connection.ask(asked, framed(&of("1"))).await;
        let status = status.unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{encoding}");
        let said = status.message();
        assert!(said.contains("compression") && said.contains("gzip,identity"), "{said}");
        assert_eq!(reason(&status), "COMPRESSION_UNSUPPORTED");
    }
    ground.withstands(async |_| {}).await;
}

/// grpcio's `ipv4:a,b` names both addresses in `:authority`, which HTTP/2 does not allow; README.md says what to set.
#[tokio::test]
async fn an_authority_of_two_addresses_is_reset_and_any_single_one_is_answered() {
    let ground = ground(&[]).await;
    for (authority, expected) in [
        ("127.0.0.1:50051,127.0.0.1:50052", End::Reset(1)),
        ("127.0.0.1:50051", End::Answered),
        ("userdata", End::Answered),
    ] {
        let head = [(":method", "POST"), (":scheme", "http"), (":path", GET), (":authority", authority)];
        let head = block(&[&head[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat());
        let mut wire = Wire::open(ground.server.address, &[]).await;
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
        assert_eq!(wire.end(1).await, expected, "{authority}");
    }
    ground.withstands(async |_| {}).await;
}
