//! One call of GetComprehensiveUserData whose document stays the bytes that came: comparing decoded
//! messages would hide another encoding.

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use userdata::proto::v1::{
    CacheInfo, CacheStatus, ComprehensiveUserData, GetComprehensiveUserDataRequest, SectionReport,
};

use crate::wait_for;

/// The reply's twin on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct RawReply {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    #[prost(message, optional, tag = "2")]
    cache_info: Option<CacheInfo>,
    #[prost(message, repeated, tag = "3")]
    sections: Vec<SectionReport>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The encoded document.
    pub data: Bytes,
    pub info: CacheInfo,
    pub sections: Vec<SectionReport>,
    /// The metadata `x-cache`.
    pub x_cache: String,
}

impl Answer {
    pub fn status(&self) -> CacheStatus {
        self.info.status()
    }

    pub fn document(&self) -> ComprehensiveUserData {
        ComprehensiveUserData::decode(self.data.clone()).unwrap()
    }
}

/// Calls over one connection, which clones share.
#[derive(Clone, Debug)]
pub struct Caller(Channel);

impl Caller {
    pub fn new(channel: Channel) -> Self {
        Self(channel)
    }

    /// The user's whole document, as anybody asks for it.
    pub async fn get(&self, user: &str) -> Answer {
        self.ask(about(user)).await.unwrap_or_else(|status| panic!("user {user}: {status}"))
    }

    /// Asks until the answer comes from there: what is stored behind an answer takes a moment.
    pub async fn until(&self, user: &str, status: CacheStatus) -> Answer {
        let get = async || Some(self.get(user).await).filter(|answer| answer.status() == status);
        wait_for(status.as_str_name(), get).await
    }

    pub async fn ask(&self, request: GetComprehensiveUserDataRequest) -> Result<Answer, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static("/userdata.v1.UserDataService/GetComprehensiveUserData");
        let codec = ProstCodec::<GetComprehensiveUserDataRequest, RawReply>::default();
        let (metadata, reply, _) = grpc.unary(Request::new(request), path, codec).await?.into_parts();
        let x_cache = metadata.get("x-cache").expect("every answer has it").to_str().unwrap().to_owned();
        let info = reply.cache_info.expect("every answer has it");
        Ok(Answer { data: reply.data, info, sections: reply.sections, x_cache })
    }
}

/// A request for a user, and nothing else said.
pub fn about(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() }
}
