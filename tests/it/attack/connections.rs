//! Connections that never become HTTP/2, or break its rules: each ends, alone, and gives its place back.

use std::net::SocketAddr;

use super::ground;
use testkit::{
    ask::of,
    raw::GET,
    wire::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, PING, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, Wire, block, call, frame, pairs,
    },
};

#[tokio::test]
async fn what_is_not_http_2_is_closed() {
    ground(&[("USERDATA__SERVER__PREFACE_MAX", "100ms")])
        .await
        .withstands(async |address: SocketAddr| {
            for (case, bytes) in [
                ("noise", vec![0xa5; 4096]),
                ("a byte", vec![0; 1]),
                ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
                ("an upgrade", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_vec()),
                ("TLS", [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &[7; 512]].concat()),
                ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec()),
                ("another ending", [&PREFACE[..20], b"XX\r\n"].concat()),
                ("half of it", PREFACE[..12].to_vec()),
                ("HTTP/1.1 behind it", [PREFACE, b"GET / HTTP/1.1\r\n\r\n"].concat()),
                ("nothing", vec![]),
            ] {
                for _ in 0..3 {
                    let mut wire = Wire::silent(address).await;
                    wire.send(&bytes).await;
                    let end = wire.end(1).await;
                    assert!(matches!(end, End::Closed | End::GoneAway(_)), "{case}: {end:?}");
                }
            }
        })
        .await;
}

#[tokio::test]
async fn frames_against_the_rules_end_their_connection() {
    let head = |flags: u8, stream: u32| frame(HEADERS, flags | END_HEADERS, stream, &call(GET, &[]));
    let window = |stream: u32, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let setting = |key: u16, value: u32| frame(SETTINGS, 0, 0, &pairs(&[(key, value)]));
    let announced = [0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1];
    let cases = [
        ("a frame of 16 KiB and a byte", frame(PING, 0, 0, &[0; 16 * 1024 + 1])),
        ("16 MiB announced", announced.to_vec()),
        ("a PING of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a reset of 3 bytes", [head(0, 1), frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[])),
        ("PING of a stream", frame(PING, 0, 1, &[0; 8])),
        ("a push that is neither yes nor no", setting(2, 2)),
        ("frames smaller than any may be", setting(5, 1)),
        ("a first window beyond 2 GiB", setting(4, u32::MAX)),
        ("a window wider by nothing", window(0, 0)),
        ("a window beyond 2 GiB", window(0, i32::MAX.unsigned_abs())),
        ("data on no stream", frame(DATA, 0, 0, &[0; 8])),
        ("data before headers", frame(DATA, 0, 1, &[0; 8])),
        ("a reset before headers", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("padding longer than the data", [head(0, 1), frame(DATA, 8, 1, &[200, 0])].concat()),
        ("a stream of ours", head(0, 2)),
        ("a stream again", [head(0, 5), head(0, 3)].concat()),
        ("a promise to a server", [head(0, 1), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])].concat()),
        ("headers that go on without having begun", frame(CONTINUATION, 4, 1, &[])),
        ("headers interrupted", [frame(HEADERS, 0, 1, &[]), frame(PING, 0, 0, &[0; 8])].concat()),
        ("an entry that no table has", frame(HEADERS, END_HEADERS, 1, &[0xff, 0x80, 0x80, 1])),
        ("a number without end", frame(HEADERS, END_HEADERS, 1, &[0xff; 64])),
        ("no Huffman code", frame(HEADERS, END_HEADERS, 1, &[0, 0x81, 0xff, 0x81, 0xff])),
        ("a table beyond its bound", frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xff, 0xff, 3])),
        ("data after the end", [head(END_STREAM, 1), frame(DATA, 0, 1, &[0; 8])].concat()),
    ];
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            for (case, bytes) in &cases {
                let mut wire = Wire::open(address, &[]).await;
                wire.send(bytes).await;
                let end = wire.end(u32::MAX).await;
                assert!(matches!(end, End::GoneAway(_)), "{case}: {end:?}");
            }
        })
        .await;
}

#[tokio::test]
async fn heads_that_are_no_requests_are_refused_with_a_word() {
    let with = |more: &[(&str, &str)]| call(GET, more);
    let cases = [
        ("a name in capitals", with(&[("X-Capital", "1")])),
        ("a header of the connection", with(&[("connection", "close")])),
        ("encoded for transfer", with(&[("transfer-encoding", "chunked")])),
        ("two paths", with(&[(":path", "/x")])),
        ("a pseudo-header behind others", with(&[(":authority", "x")])),
        ("an unknown pseudo-header", with(&[(":secret", "x")])),
        ("a line break in a value", with(&[("x-line", "a\r\nb")])),
        ("no path", block(&[(":method", "POST"), (":scheme", "http")])),
        ("no method", block(&[(":path", GET), (":scheme", "http")])),
        ("a path that is none", call("not a path\\", &[])),
        ("nothing", vec![]),
        ("16 KiB and more", with(&[("x-long", &"x".repeat(16 * 1024))])),
    ];
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            for (case, block) in &cases {
                let mut wire = Wire::open(address, &[]).await;
                let (first, rest) = block.split_at(block.len().min(16 * 1024));
                if rest.is_empty() {
                    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, first)).await;
                } else {
                    wire.send(&frame(HEADERS, END_STREAM, 1, first)).await;
                    wire.send(&frame(CONTINUATION, END_HEADERS, 1, rest)).await;
                }
                let end = wire.end(1).await;
                assert_ne!(end, End::Closed, "{case}: without a word");
            }
        })
        .await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let places = [("USERDATA__SERVER__PREFACE_MAX", "100ms"), ("USERDATA__SERVER__MAX_CONNECTIONS", "8")];
    let ground = ground(&places).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(Wire::silent(ground.server.address).await);
    }
    // Behind all of them: it is accepted once their time has passed.
    let mut late = ground.server.client().await;
    late.get_comprehensive_user_data(of("1")).await.expect("a place is free again");
    ground.withstands(async |_| {}).await;
    for wire in &mut silent {
        assert_eq!(wire.end(1).await, End::Closed);
    }
}
