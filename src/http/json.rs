//! Messages of the RPCs as JSON and back: proto3 JSON with the contract's field names.

use bytes::{Buf as _, Bytes, buf::Chain};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

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
    let not_json = |error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Refusal::invalid("message", &format!("is not JSON, at {place}"))
    };
    let mut json = serde_json::from_slice::<Json>(json).map_err(not_json)?;
    forget_nulls(&mut json);
    let of_another_type = |_| Refusal::invalid("message", "has a value of another type than the contract's");
    let message = serde_json::from_value::<M>(json).map_err(of_another_type)?;
    Ok(message.encode_to_vec())
}

/// In proto3 JSON a field that is null is absent. Parameters are any JSON: there null is a value.
fn forget_nulls(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.iter_mut().filter(|(name, _)| *name != "parameters").for_each(|(_, value)| forget_nulls(value));
        }
        Json::Array(values) => values.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}

/// The reply of a method, as JSON.
pub(super) fn reply(method: Method, message: &[u8]) -> Result<Vec<u8>, JsonError> {
    match method {
        Method::Get => decoded::<GetComprehensiveUserDataResponse>(message),
        Method::Invalidate => decoded::<InvalidateCacheResponse>(message),
        Method::Stats => decoded::<GetCacheStatsResponse>(message),
        Method::Cleanup => decoded::<CleanupCacheResponse>(message),
        Method::Warm => {
            let mut progress = WarmCacheResponse::decode(message)?;
            // As JSON, readers need the types of all details.
            if let Some(error) = &mut progress.error {
                error.details.clear();
            }
            Ok(serde_json::to_vec(&progress)?)
        }
        Method::Health | Method::Reflection | Method::Unknown => Ok(Vec::new()),
    }
}

fn decoded<M: Message + Default + Serialize>(message: &[u8]) -> Result<Vec<u8>, JsonError> {
    Ok(serde_json::to_vec(&M::decode(message)?)?)
}

/// What a reply says beside its document, and the document: written last, so that its bytes are shared and not copied.
pub(super) fn around(beside: &impl Serialize, document: Bytes) -> Result<Chain<Bytes, Bytes>, JsonError> {
    let mut head = serde_json::to_vec(beside)?;
    head.pop();
    head.extend_from_slice(b",\"data\":");
    Ok(Bytes::from(head).chain(document))
}

/// A document as JSON, as the end of the object around it.
pub(super) fn as_the_end(document: &impl Serialize) -> Result<Vec<u8>, JsonError> {
    let mut json = serde_json::to_vec(document)?;
    json.push(b'}');
    Ok(json)
}

/// A document in the contract's form; of a selection, only the fields of its sections.
pub(super) fn document(data: &[u8], sections: SectionSet) -> Result<Vec<u8>, JsonError> {
    let document = ComprehensiveUserData::decode(data)?;
    if sections.is_all() {
        return as_the_end(&document);
    }
    let mut json = serde_json::to_value(&document)?;
    if let Some(fields) = json.as_object_mut() {
        let selected: Vec<_> = sections.iter().flat_map(document::fields).collect();
        fields.retain(|field, _| selected.contains(&&field.as_str()));
    }
    as_the_end(&json)
}
