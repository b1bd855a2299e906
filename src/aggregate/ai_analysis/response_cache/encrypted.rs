//! Responses in the table, encrypted by the key of the user whose load has caused them. Users with the same input share
//! a response: it is readable until that user is erased, and then it is deleted anyway.

use serde_json::Value as Json;

use super::ResponseKey;
use crate::{
    model::UserId,
    privacy::{KeyError, UserKeys, ValueContext, read_sealed, sealed},
};

fn context<'a>(user: &'a UserId, key: &'a ResponseKey) -> ValueContext<'a> {
    ValueContext { place: "AI response 1", user, key: key.as_str().as_bytes(), clear: &[] }
}

/// The JSON to store.
pub(super) async fn encrypt(
    response: &Json,
    user: &UserId,
    key: &ResponseKey,
    keys: &UserKeys,
) -> Result<Json, KeyError> {
    let mut encrypted = Vec::new();
    keys.of(user).await?.encrypt(&context(user, key), response.to_string().as_bytes(), &mut encrypted);
    Ok(serde_json::from_str(&sealed(&encrypted)).expect("it is JSON"))
}

/// The stored response, or why it cannot be read.
pub(super) async fn decrypt(
    stored: &Json,
    user: &str,
    key: &ResponseKey,
    keys: &UserKeys,
) -> Result<Result<Json, String>, KeyError> {
    let Some(encrypted) = read_sealed(&stored.to_string()) else {
        return Ok(Err("it is in clear, and privacy.encrypt is on".to_owned()));
    };
    let Ok(user) = UserId::parse(user) else { return Ok(Err("no user has this id".to_owned())) };
    let response = keys.decrypt(&context(&user, key), &encrypted).await?;
    let response = response.and_then(|response| serde_json::from_slice(&response).ok());
    Ok(response.ok_or_else(|| "the user's key is another one, or the value was changed".to_owned()))
}
