//! What a memory hit costs, counted: the same figure on a busy machine as on an idle one.
//!
//! Hits are answered here without a network, as far as our own code goes and what it calls of tonic: from
//! a request's headers and body to the reply's last frame. An allocator counts, so this is a binary of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "the figures, for whoever wants to lower a bound")]

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Request;
use http_body::Body as _;
use prost::Message as _;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use userdata::{
    app::App,
    cache::{UserDataCache, Wish},
    clock::Clock,
    config::{Config, Secret},
    grpc::{self, security::Security, stack::Stack},
    model::{CacheStatus, Parameters, Tier, UserDataQuery, UserId},
    proto::v1::GetComprehensiveUserDataRequest,
    telemetry::Telemetry,
};

/// Of everything between HTTP/2 and the cache, tonic's decoding and axum's routing included.
const STACK_ALLOCATIONS_MAX: u64 = 52;
/// A copy of the document, which has more than 10 KiB, would not fit.
const STACK_BYTES_MAX: u64 = 13 * 1024;

/// The service over the demo's data, not serving.
struct Instance {
    cache: std::sync::Arc<UserDataCache>,
    stack: Stack,
    _app: App,
    _directory: TempDir,
}

impl Instance {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.url = Secret::new(format!("sqlite://{}/userdata.db?mode=rwc", directory.path().display()));
        config.demo.enabled = true;
        config.sources.change_feed = false;
        // Nothing here is about time, and the machine may be busy.
        config.database.timeout = Duration::from_secs(10);
        let app = Box::pin(App::connect(config.clone(), Telemetry::quiet())).await.unwrap();
        let cache = app.cache();
        let (clock, tasks, telemetry) = (Clock::system(), TaskTracker::new(), Telemetry::quiet());
        let server = grpc::Server::new(cache.clone(), &config.server, Security::open(), clock, tasks, &telemetry).await;
        Self { cache, stack: server.unwrap().stack(), _app: app, _directory: directory }
    }

    /// Counts what one hit allocates, once it is one: the lease has to hold, and what is made once is made.
    async fn counted(&self, hit: impl Fn(&Self) -> bool) -> allocation_counter::AllocationInfo {
        for _ in 0..1000 {
            self.cache.fence().catch_up().await.unwrap();
            if !(hit(self) && hit(self)) {
                continue;
            }
            let mut was_hit = false;
            let counted = allocation_counter::measure(|| was_hit = hit(self));
            if was_hit {
                return counted;
            }
        }
        panic!("no hit");
    }

    /// A hit of the cache alone.
    fn get(&self, query: &UserDataQuery) -> bool {
        let answered = self.cache.get(query, &Wish::default()).now_or_never();
        answered.is_some_and(|served| served.unwrap().status == CacheStatus::Hit(Tier::Memory))
    }

    /// A hit from headers to trailers; whether all came at once.
    fn call(&self, framed: &Bytes) -> bool {
        let Some((bytes, frames)) = self.reply(framed) else { return false };
        // Head and document, then trailers.
        bytes > 10_000 && frames == 3
    }

    fn reply(&self, framed: &Bytes) -> Option<(usize, usize)> {
        let request = Request::post("http://localhost/userdata.v1.UserDataService/GetComprehensiveUserData")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(axum::body::Body::from(framed.clone()))
            .unwrap();
        let response = self.stack.ask(request).now_or_never()?.unwrap();
        let mut body = std::pin::pin!(response.into_body());
        let (mut bytes, mut frames) = (0, 0);
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).now_or_never()? {
            frames += 1;
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        Some((bytes, frames))
    }
}

fn query() -> UserDataQuery {
    UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none())
}

fn framed_request() -> Bytes {
    let message = GetComprehensiveUserDataRequest { user_id: "1".into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

#[tokio::test]
async fn a_hit_allocates_no_more_than_it_did() {
    let instance = Instance::start().await;
    let (query, request) = (query(), framed_request());
    let first = instance.cache.get(&query, &Wish::default()).await.unwrap();
    assert!(first.snapshot.payload.len() > 10_000, "{} bytes", first.snapshot.payload.len());

    let cache = instance.counted(|instance| instance.get(&query)).await;
    let stack = instance.counted(|instance| instance.call(&request)).await;

    eprintln!("the cache: {cache:?}\nthe whole stack: {stack:?}");
    assert_eq!(cache.count_total, 0, "{cache:?}");
    assert!(stack.count_total <= STACK_ALLOCATIONS_MAX, "{stack:?}");
    assert!(stack.bytes_total <= STACK_BYTES_MAX, "{stack:?}");
    assert_eq!(stack.count_current, 0, "{stack:?}");
}
