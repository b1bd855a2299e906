//! A record that is encrypted by its user's key. The same content stands in Redis and in a row of the table.
//!
//! In Redis, the first 34 bytes of the record stand before it in clear, with a signature of their own and zeros for the
//! checksum: the script that stores a record compares them. They belong to the encrypted record, and none of them is of
//! the document.
//!
//! Order: a record is compressed before it is encrypted. Afterwards nothing could be saved.

use bytes::Bytes;

use super::{
    error::TierError,
    record::{self, ENCRYPTED_SIGNATURE, HEAD_COMPARED, RecordError},
};
use crate::{
    model::{CacheKey, Snapshot},
    privacy::{OVERHEAD, UserKey, UserKeys, ValueContext, read_sealed, sealed},
};

const IN_REDIS: &str = "redis record 1";
const IN_TABLE: &str = "table row 1";
/// As Redis' default: for smaller payloads zstd costs more than it saves.
const COMPRESS_ROWS_ABOVE: usize = 1024;

fn context<'a>(place: &'static str, key: &'a CacheKey, clear: &'a [u8]) -> ValueContext<'a> {
    ValueContext { place, user: &key.user, key: key.hash.bytes(), clear }
}

/// The value in Redis.
pub(super) fn to_redis(snapshot: &Snapshot, compress_above: usize, key: &UserKey) -> Bytes {
    let record = record::encode(snapshot, compress_above);
    let mut head = [0; HEAD_COMPARED];
    head[..5].copy_from_slice(&ENCRYPTED_SIGNATURE);
    head[9..].copy_from_slice(&record[9..HEAD_COMPARED]);
    let mut value = Vec::with_capacity(HEAD_COMPARED + OVERHEAD + record.len());
    value.extend_from_slice(&head);
    key.encrypt(&context(IN_REDIS, &snapshot.key, &head), &record, &mut value);
    value.into()
}

/// The snapshot of a value in Redis. A value in clear is another version.
pub(super) async fn from_redis(value: &[u8], key: &CacheKey, keys: &UserKeys) -> Result<Snapshot, TierError> {
    match value.split_at_checked(HEAD_COMPARED) {
        Some((head, encrypted)) if head.starts_with(&ENCRYPTED_SIGNATURE) => {
            decrypted(context(IN_REDIS, key, head), encrypted, key, keys).await
        }
        _ => Err(RecordError::Signature.into()),
    }
}

/// The JSON of a row's document.
pub(super) fn to_row(snapshot: &Snapshot, key: &UserKey) -> String {
    let mut encrypted = Vec::new();
    let record = record::encode(snapshot, COMPRESS_ROWS_ABOVE);
    key.encrypt(&context(IN_TABLE, &snapshot.key, &[]), &record, &mut encrypted);
    sealed(&encrypted)
}

/// The snapshot of a row's JSON, with the expiry that was encrypted.
pub(super) async fn from_row(json: &str, key: &CacheKey, keys: &UserKeys) -> Result<Snapshot, TierError> {
    let encrypted =
        read_sealed(json).ok_or_else(|| TierError::Garbage("a row without a sealed document".to_owned()))?;
    decrypted(context(IN_TABLE, key, &[]), &encrypted, key, keys).await
}

async fn decrypted(
    context: ValueContext<'_>,
    encrypted: &[u8],
    key: &CacheKey,
    keys: &UserKeys,
) -> Result<Snapshot, TierError> {
    let record = keys.decrypt(&context, encrypted).await?;
    let record = record
        .ok_or_else(|| TierError::Garbage("the user's key is another one, or the value was changed".to_owned()))?;
    Ok(record::decode(&record.into(), key)?)
}
