//! Messages that cannot be read: refused before any code of ours, beside callers who notice nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use tonic::{Code, codec::CompressionEncoding};
use userdata::proto::v1::GetCacheStatsRequest;

use super::{asking, assert_refused, fields};
use testkit::{
    database::Kind,
    demo::serve_demo,
    raw::{GET, call, framed, framed_bytes},
    server::{Client, Server},
};

/// Runs `attack` while another caller asks over its own connection, and sees no failure.
async fn beside_a_caller(server: &Server, attack: impl AsyncFnOnce()) {
    let mut client: Client = server.client().await;
    let (over, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    let asking = async {
        while !over.load(Ordering::Relaxed) || answers.load(Ordering::Relaxed) == 0 {
            client.get_comprehensive_user_data(asking("1")).await.expect("others are unharmed");
            answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    let attacking = async {
        attack().await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking, attacking);
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_refused_and_harm_nobody_else() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    beside_a_caller(&server, async || {
        let mut client = server.client().await;
        let status = client.get_comprehensive_user_data(asking(&"x".repeat(64 * 1024))).await.unwrap_err();
        assert_refused(&status, Code::OutOfRange, "MESSAGE_TOO_LARGE");

        let mut compressing = server.client().await.send_compressed(CompressionEncoding::Gzip);
        let bomb = asking(&"0".repeat(16 * 1024 * 1024));
        let status = compressing.get_comprehensive_user_data(bomb).await.unwrap_err();
        assert_refused(&status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

        let broken: [&[u8]; 5] = [
            // No such wire type; a length beyond the end; an endless number; a user that is no UTF-8; field 0.
            &[0xff; 9],
            &[0x0a, 0x7f, b'1'],
            &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x0a, 0x02, 0xc3, 0x28],
            &[0x00, 0x00],
        ];
        for bytes in broken {
            let status = call(server.address, GET, &[], framed_bytes(bytes)).await;
            assert_refused(&status, Code::Internal, "INTERNAL");
        }

        // The same connections go on.
        client.get_comprehensive_user_data(asking("1")).await.unwrap();
        compressing.get_comprehensive_user_data(asking("1")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn frames_that_lie_about_themselves_are_refused_and_harm_nobody_else() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let cases: [(&str, &[u8], Code); 4] = [
        ("a compression flag of 7", &[7, 0, 0, 0, 0], Code::Internal),
        ("compressed, but without saying how", &[1, 0, 0, 0, 1, 0], Code::Internal),
        ("4 GiB announced", &[0, 0xff, 0xff, 0xff, 0xff], Code::OutOfRange),
        ("ends within the message", &[0, 0, 0, 0, 9, 1], Code::Internal),
    ];
    beside_a_caller(&server, async || {
        for (case, bytes, code) in cases {
            let status = call(server.address, GET, &[], Bytes::from_static(bytes)).await;
            assert_eq!(status.code(), code, "{case}: {status:?}");
        }
        let status = call(server.address, "/userdata.v1.UserDataService/Nothing", &[], framed_bytes(&[])).await;
        assert_refused(&status, Code::Unimplemented, "UNIMPLEMENTED");
    })
    .await;
    server.client().await.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_malformed_timeout_is_an_invalid_argument() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    for timeout in ["soon", "1", "S", "-1S", "123456789S", "1.5S", "1 S"] {
        let status = call(server.address, GET, &[("grpc-timeout", timeout)], framed(&asking("1"))).await;
        assert_refused(&status, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(fields(&status), ["grpc-timeout"], "{timeout}");
    }
}
