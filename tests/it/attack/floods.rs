//! Much of what is allowed once: it ends the connection that it comes over, or is borne.

use std::net::SocketAddr;

use super::ground;
use testkit::{
    raw::GET,
    wire::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
        Wire, call, frame, pairs,
    },
};

/// Frames of each flood: at some 20 bytes each far above what any queue of a connection may hold.
const MANY: usize = 20_000;
/// The connection goes on, or does not.
const BORNE: &str = "borne";
const ENDED: &str = "ended";
/// By how fast they come: what is more than is answered meanwhile is refused, and too many refusals end the connection.
const EITHER: &str = "either";
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

fn many(frames: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    (0..MANY).flat_map(frames).collect()
}

fn stream(index: usize) -> u32 {
    2 * u32::try_from(index).unwrap() + 1
}

#[tokio::test]
async fn floods_of_frames_harm_nobody_else() {
    let head = frame(HEADERS, END_HEADERS, 1, &call(GET, &[]));
    let whole = |index| frame(HEADERS, END_HEADERS | END_STREAM, stream(index), &call(GET, &[]));
    let floods = [
        ("pings", BORNE, many(|_| frame(PING, 0, 0, &[7; 8]))),
        ("answers to pings", BORNE, many(|_| frame(PING, 1, 0, &[7; 8]))),
        ("settings", BORNE, many(|_| frame(SETTINGS, 0, 0, &pairs(&[(3, 100), (4, 65_535)])))),
        ("acknowledgements", ENDED, many(|_| frame(SETTINGS, 1, 0, &[]))),
        ("priorities", BORNE, many(|index| frame(PRIORITY, 0, stream(index), &[0, 0, 0, 0, 1]))),
        ("window updates", BORNE, many(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("unknown frames", BORNE, many(|_| frame(0xfa, 0xff, 0, &[7; 8]))),
        ("empty data", ENDED, [head.clone(), many(|_| frame(DATA, 0, 1, &[]))].concat()),
        ("a message byte by byte", ENDED, [head.clone(), many(|_| frame(DATA, 0, 1, &[0]))].concat()),
        ("padding", ENDED, [head, many(|_| frame(DATA, 8, 1, &[3, 0, 0, 0]))].concat()),
        (
            "empty headers that go on",
            ENDED,
            [frame(HEADERS, 0, 1, &[]), many(|_| frame(CONTINUATION, 0, 1, &[]))].concat(),
        ),
        (
            "headers that go on",
            ENDED,
            [frame(HEADERS, 0, 1, &[]), many(|_| frame(CONTINUATION, 0, 1, &call("/", &[])))].concat(),
        ),
        ("streams", EITHER, many(whole)),
        ("resets", EITHER, many(|index| [whole(index), frame(RST_STREAM, 0, stream(index), &CANCEL)].concat())),
        (
            "streams that make us reset",
            ENDED,
            many(|index| {
                [
                    frame(HEADERS, END_HEADERS, stream(index), &call(GET, &[])),
                    frame(WINDOW_UPDATE, 0, stream(index), &[0; 4]),
                ]
                .concat()
            }),
        ),
    ];
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            for (case, expected, bytes) in &floods {
                let mut wire = Wire::open(address, &[]).await;
                wire.send_reading(bytes).await;
                wire.send_reading(&frame(HEADERS, END_HEADERS | END_STREAM, stream(MANY), &call(GET, &[]))).await;
                let end = wire.end(stream(MANY)).await;
                // A connection may be closed before its last word is read.
                let ended = matches!(end, End::GoneAway(_) | End::Closed);
                assert!(*expected == EITHER || ended == (*expected == ENDED), "{case}: {end:?}");
            }
        })
        .await;
}

/// As a caller's process does whose own caller has left.
#[tokio::test]
async fn who_leaves_all_its_calls_at_once_keeps_its_connection() {
    const STREAMS: usize = 200;
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            let mut wire = Wire::open(address, &[]).await;
            let called = (0..STREAMS).flat_map(|index| frame(HEADERS, END_HEADERS, stream(index), &call(GET, &[])));
            let left = (0..STREAMS).flat_map(|index| frame(RST_STREAM, 0, stream(index), &CANCEL));
            wire.send_reading(&called.chain(left).collect::<Vec<_>>()).await;
            wire.send_reading(&frame(HEADERS, END_HEADERS | END_STREAM, stream(STREAMS), &call(GET, &[]))).await;
            let end = wire.end(stream(STREAMS)).await;
            assert!(!matches!(end, End::GoneAway(_) | End::Closed), "{end:?}");
        })
        .await;
}
