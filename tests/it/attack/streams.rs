//! Streams that are begun and not gone on with: they are ended soon, and occupy no permit meanwhile.

use std::{net::SocketAddr, time::Duration};

use super::ground;
use testkit::{
    ask::stats,
    raw::GET,
    server::Server,
    wait_for,
    wire::{DATA, END_HEADERS, END_STREAM, End, HEADERS, Wire, call, frame},
};

const STATS: &str = "/userdata.v1.UserDataService/GetCacheStats";
/// Streams of one connection: several of them are far more than there are places.
const STREAMS: u32 = 200;
const PLACES: [(&str, &str); 1] = [("USERDATA__SERVER__MAX_CONCURRENT_REQUESTS", "64")];

fn streams() -> impl Iterator<Item = u32> {
    (1..2 * STREAMS).step_by(2)
}

/// Heads of requests that may take for ever as far as they say, each followed by what there is of its message: empty
/// frames would be another attack.
fn begun(path: &str, message: &[u8]) -> Vec<u8> {
    let head = call(path, &[("grpc-timeout", "99999999H")]);
    let data = |stream| if message.is_empty() { vec![] } else { frame(DATA, 0, stream, message) };
    streams().flat_map(|stream| [frame(HEADERS, END_HEADERS, stream, &head), data(stream)].concat()).collect()
}

async fn has_in_flight(server: &Server, requests: u32) {
    wait_for("requests in flight", async || {
        let (_, metrics) = server.probe("/metrics").await;
        let lines = metrics.lines().filter(|line| line.starts_with("userdata_requests_in_flight{"));
        let all: f64 = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        (all >= f64::from(requests)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_whose_message_never_comes_take_no_place() {
    // They are there for as long as they are looked at, however slow the machine.
    let ground = ground(&[PLACES[0], ("USERDATA__SERVER__ARRIVAL_MAX", "10m")]).await;
    let mut wires = Vec::new();
    for message in [&b""[..], &[0, 0, 0], &[0, 0, 0, 0xff, 0xff, 1]] {
        for path in [GET, STATS] {
            let mut wire = Wire::open(ground.server.address, &[]).await;
            assert!(wire.send_reading(&begun(path, message)).await);
            wires.push(wire);
        }
    }
    has_in_flight(&ground.server, 6 * STREAMS).await;
    // All places would be taken if they counted.
    stats(&ground.server.client().await).await;
    drop(wires);
    ground.withstands(async |_| {}).await;
}

#[tokio::test]
async fn a_message_that_does_not_come_in_time_is_not_waited_for_whatever_its_deadline() {
    let soon = [PLACES[0], ("USERDATA__SERVER__ARRIVAL_MAX", "300ms")];
    ground(&soon)
        .await
        .withstands(async |address: SocketAddr| {
            let mut silent = Wire::open(address, &[]).await;
            assert!(silent.send_reading(&begun(STATS, &[0])).await);
            for stream in streams() {
                assert_eq!(silent.end(stream).await, End::Answered);
            }
            // Byte by byte it is no sooner there.
            let mut trickling = Wire::open(address, &[]).await;
            let head = frame(HEADERS, END_HEADERS, 1, &call(STATS, &[]));
            assert!(trickling.send_reading(&[head, frame(DATA, 0, 1, &[0, 0, 0, 0xff, 0xff])].concat()).await);
            let answered = async {
                while trickling.send_reading(&frame(DATA, 0, 1, &[0x50])).await
                    && !trickling.has_received(END_STREAM, 1)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), answered).await.expect("an answer");
        })
        .await;
}

#[tokio::test]
async fn replies_that_nobody_takes_are_gone_with_their_connection() {
    const FIRST_WINDOW: u16 = 4;
    ground(&[])
        .await
        .withstands(async |address: SocketAddr| {
            let asking = [0, 0, 0, 0, 3, 0x0a, 1, b'1'];
            let requests: Vec<u8> = streams()
                .flat_map(|stream| {
                    let head = frame(HEADERS, END_HEADERS, stream, &call(GET, &[]));
                    [head, frame(DATA, END_STREAM, stream, &asking)].concat()
                })
                .collect();
            for window in [0, 1] {
                let mut wire = Wire::open(address, &[(FIRST_WINDOW, window)]).await;
                assert!(wire.send_reading(&requests).await);
                // It is still served: this one has nothing to send but its end.
                let head = frame(HEADERS, END_HEADERS | END_STREAM, 2 * STREAMS + 1, &call("/nobody/Knows", &[]));
                assert!(wire.send_reading(&head).await);
                assert_eq!(wire.end(2 * STREAMS + 1).await, End::Answered);
            }
        })
        .await;
}
