//! The served documents: real users, whose strategies are filled with text up to the size.
//!
//! The other servers answer this service's bytes.

use std::{collections::BTreeMap, net::SocketAddr};

use fred::interfaces::{ClientLike as _, KeysInterface as _};
use prost::Message as _;
use sea_orm::ConnectionTrait as _;
use tonic::transport::Endpoint;
use userdata::{
    proto::v1::{
        GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse,
        user_data_service_client::UserDataServiceClient,
    },
    telemetry::Telemetry,
};

use super::rivals::{self, Ours};
use testkit::{
    database::Kind,
    redis::Redis,
    sources::{Sources, sources},
};

/// The Redis key of the measured document.
pub(super) const KEY: &str = "bench:document";
const KIB: usize = 1024;

/// One document per size, and their database.
#[derive(Debug)]
pub(super) struct Documents {
    sources: Sources,
    by_size: BTreeMap<usize, Document>,
}

/// A user's document: the request and the reply.
#[derive(Debug)]
pub(super) struct Document {
    request: GetComprehensiveUserDataRequest,
    reply: Vec<u8>,
}

impl Documents {
    /// Users whose documents have these sizes in KiB, or the smallest possible.
    pub(super) async fn prepare(sizes: &[usize]) -> Self {
        let sources = sources(Kind::Sqlite).await;
        let mut by_size = BTreeMap::new();
        for size in sizes {
            let (user, id) = (size.to_string(), i32::try_from(*size).unwrap());
            sources.add_user(&user, &[id]).await;
            let request = GetComprehensiveUserDataRequest { user_id: user, ..Default::default() };
            let bare = answer_of_ours(&sources.database.url, &request).await.encoded_len();
            let text = text(size * KIB - bare.min(size * KIB));
            sources
                .db
                .execute_unprepared(&format!(
                    "UPDATE enhanced_content_strategies SET competitive_position = '{text}' WHERE id = {id}"
                ))
                .await
                .unwrap();
            let reply = answer_of_ours(&sources.database.url, &request).await.encode_to_vec();
            assert!(reply.len() < bare.max(size * KIB) * 101 / 100 + 16, "{} bytes for {size} KiB", reply.len());
            by_size.insert(*size, Document { request, reply });
        }
        Self { sources, by_size }
    }

    pub(super) fn of(&self, size: usize) -> &Document {
        &self.by_size[&size]
    }

    pub(super) fn database_url(&self) -> &str {
        &self.sources.database.url
    }
}

impl Document {
    /// The bytes of the reply's message.
    pub(super) fn reply(&self) -> &[u8] {
        &self.reply
    }

    pub(super) fn reply_bytes(&self) -> usize {
        self.reply.len()
    }

    /// The request as it is on the wire.
    pub(super) fn framed_request(&self) -> Vec<u8> {
        let message = self.request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &message].concat()
    }

    /// Stores it for the servers that read it from Redis: as JSON, and as encoded bytes.
    pub(super) async fn store_in(&self, redis: &Redis) {
        let message = GetComprehensiveUserDataResponse::decode(self.reply.as_slice()).unwrap();
        let json = serde_json::to_vec(&message).unwrap();
        let config = fred::types::config::Config::from_url(&redis.url()).unwrap();
        let client = fred::types::Builder::from_config(config).build().unwrap();
        client.init().await.unwrap();
        let json_key = rivals::json_key(&self.request.user_id);
        for (key, value) in [(KEY, self.reply.as_slice()), (&json_key, &json)] {
            let _: () = client.set(key, value, None, None, false).await.unwrap();
        }
        client.quit().await.unwrap();
    }

    /// One call; the answer must have about the announced size.
    pub(super) async fn is_answered_by(&self, address: SocketAddr) {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = UserDataServiceClient::new(endpoint.connect().await.unwrap());
        client.get_comprehensive_user_data(self.request.clone()).await.unwrap();
    }
}

/// One answer of a service started for it, with an empty memory tier.
async fn answer_of_ours(
    database_url: &str,
    request: &GetComprehensiveUserDataRequest,
) -> GetComprehensiveUserDataResponse {
    let ours = Ours::start(database_url, Telemetry::quiet(), true).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", ours.address())).unwrap();
    let mut client = UserDataServiceClient::new(endpoint.connect().await.unwrap());
    let asked = GetComprehensiveUserDataRequest { force_refresh: true, ..request.clone() };
    let answer = client.get_comprehensive_user_data(asked).await.unwrap().into_inner();
    drop(client);
    ours.stop().await;
    answer
}

/// The port of a Redis.
pub(super) fn port_of(redis: &Redis) -> u16 {
    redis.url().rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap()
}

/// Words of this many bytes.
fn text(bytes: usize) -> String {
    "meaningless filler words here ".chars().cycle().take(bytes).collect()
}
