//! Messages of the RPCs as JSON and back: proto3 JSON with the contract's field names.

use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    grpc::{method::Method, refusal::Refusal},
    model::{SectionSet, document},
    proto::v1::{
        CleanupCacheRequest, CleanupCacheResponse, ComprehensiveUserData, GetCacheStatsRequest, GetCacheStatsResponse,
        GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse, InvalidateCacheRequest,
        InvalidateCacheResponse, WarmCacheRequest, WarmCacheResponse,
    },
};

/// Why bytes could not be written as JSON. They are our own, so it is a defect.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonError {
    #[error("the message cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    #[error("the message cannot be written as JSON")]
    Write(#[from] serde_json::Error),
}

/// The request of a method, from JSON.
pub(super) fn encode_request(method: Method, json: &[u8]) -> Result<Vec<u8>, Refusal> {
    match method {
        Method::Get => encoded::<GetComprehensiveUserDataRequest>(json),
        Method::Invalidate => encoded::<InvalidateCacheRequest>(json),
        Method::Stats => encoded::<GetCacheStatsRequest>(json),
        Method::Cleanup => encoded::<CleanupCacheRequest>(json),
        Method::Warm => encoded::<WarmCacheRequest>(json),
        Method::Health | Method::Reflection | Method::Unknown => Err(Refusal::Unreadable),
    }
}

fn encoded<M: Message + DeserializeOwned>(json: &[u8]) -> Result<Vec<u8>, Refusal> {
    // The library's own words quote the caller.
    let message = serde_json::from_slice::<M>(json).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let what = if error.is_data() { "has a value of another type than the contract's" } else { "is not JSON" };
        Refusal::invalid("message", &format!("{what}, at {place}"))
    })?;
    Ok(message.encode_to_vec())
}

/// The reply of a method, as JSON.
pub(super) fn reply(method: Method, message: &[u8]) -> Result<Vec<u8>, JsonError> {
    match method {
        Method::Get => decoded::<GetComprehensiveUserDataResponse>(message),
        Method::Invalidate => decoded::<InvalidateCacheResponse>(message),
        Method::Stats => decoded::<GetCacheStatsResponse>(message),
        Method::Cleanup => decoded::<CleanupCacheResponse>(message),
        Method::Warm => decoded::<WarmCacheResponse>(message),
        Method::Health | Method::Reflection | Method::Unknown => Ok(Vec::new()),
    }
}

fn decoded<M: Message + Default + Serialize>(message: &[u8]) -> Result<Vec<u8>, JsonError> {
    Ok(serde_json::to_vec(&M::decode(message)?)?)
}

/// A document as JSON; of a selection, only the fields of its sections.
pub(super) fn document(data: &[u8], sections: SectionSet) -> Result<Vec<u8>, JsonError> {
    let document = ComprehensiveUserData::decode(data)?;
    if sections.is_all() {
        return Ok(serde_json::to_vec(&document)?);
    }
    let mut json = serde_json::to_value(&document)?;
    if let Some(fields) = json.as_object_mut() {
        let selected: Vec<_> = sections.iter().flat_map(document::fields).collect();
        fields.retain(|field, _| selected.contains(&&field.as_str()));
    }
    Ok(serde_json::to_vec(&json)?)
}
