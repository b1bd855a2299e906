//! A hit without a network: the service over the demo's data, not serving. Its allocations are counted by the test beside
//! this file, its instructions by `bench/instructions`.

use std::{cell::RefCell, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use futures::FutureExt as _;
use http::{Request, Response};
use http_body::Body as _;
use prost::Message as _;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use userdata::{
    app::App,
    cache::{ReadOptions, UserDataCache},
    clock::Clock,
    config::{Config, Secret},
    grpc::{self, middleware::response_body::ResponseBody, security::Security, stack::Stack, transport::peer::Peer},
    model::{CacheStatus, Parameters, Tier, UserDataQuery, UserId},
    proto::v1::GetComprehensiveUserDataRequest,
    telemetry::Telemetry,
};

/// The service over the demo's data, not serving.
#[expect(missing_debug_implementations, reason = "what it is made of has none")]
pub struct Instance {
    pub cache: Arc<UserDataCache>,
    pub stack: Stack,
    _app: App,
    _directory: TempDir,
}

impl Instance {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.url = Secret::new(format!("sqlite://{}/userdata.db?mode=rwc", directory.path().display()));
        config.demo.enabled = true;
        config.sources.change_feed = false;
        // Nothing here is about time, and the machine may be busy.
        config.database.timeout = Duration::from_secs(10);
        config.invalidation_log.renew_timeout = Duration::from_secs(10);
        let app = Box::pin(App::connect(config.clone(), Telemetry::quiet())).await.unwrap();
        let cache = app.cache();
        let (clock, tasks, telemetry) = (Clock::system(), TaskTracker::new(), Telemetry::quiet());
        let server = grpc::Server::new(cache.clone(), &config.server, Security::open(), clock, tasks, &telemetry).await;
        Self { cache, stack: server.unwrap().stack(), _app: app, _directory: directory }
    }

    /// A hit of the cache alone.
    pub fn get(&self, query: &UserDataQuery) -> bool {
        let answered = self.cache.get(query, &ReadOptions::default()).now_or_never();
        answered.is_some_and(|served| served.unwrap().status == CacheStatus::Hit(Tier::Memory))
    }

    /// A connection: it makes a hit from headers to trailers, and says whether all came at once.
    pub fn connection(&self) -> impl Fn(&Bytes) -> bool {
        let service = RefCell::new(self.stack.service(Peer::default()));
        move |framed| {
            let request = Request::post("http://localhost/userdata.v1.UserDataService/GetComprehensiveUserData")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(axum::body::Body::from(framed.clone()))
                .unwrap();
            let Some(response) = service.borrow_mut().call(request).now_or_never() else { return false };
            // The document with its head, then trailers.
            received(response.unwrap()).is_some_and(|(bytes, frames)| bytes > 10_000 && frames == 2)
        }
    }
}

/// The bytes and frames of a response that is ready.
fn received(response: Response<ResponseBody>) -> Option<(usize, usize)> {
    let mut body = std::pin::pin!(response.into_body());
    let (mut bytes, mut frames) = (0, 0);
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).now_or_never()? {
        frames += 1;
        bytes += frame.unwrap().data_ref().map_or(0, Buf::remaining);
    }
    Some((bytes, frames))
}

pub fn query() -> UserDataQuery {
    UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none())
}

pub fn framed_request() -> Bytes {
    let message = GetComprehensiveUserDataRequest { user_id: "1".into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}
