//! The format of a snapshot in a Redis value; encrypted, also in a row of the table (encrypted_record.rs).
//!
//! | bytes | |
//! |---|---|
//! | 0..5 | `UDSN` and the version of this layout |
//! | 5..9 | CRC-32 of all following bytes |
//! | 9 | bit 0: complete; bit 1: the payload is compressed |
//! | 10..18 | as_of, microseconds since 1970, big-endian |
//! | 18..26 | the highest read position of a section, big-endian |
//! | 26..34 | which invalidation log: a digest of its epoch |
//! | 34..38 | length of the header, big-endian |
//! | 38.. | the header, a protobuf message; then the payload, as it is or as one zstd frame |
//!
//! The script that stores a record compares the first 34 bytes (script.rs), so they have a fixed layout. The payload is
//! never decoded; an uncompressed one is a slice of Redis' answer. Rejected for the header: JSON (no exact bytes, slower)
//! and bincode (unmaintained).

mod header;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sha2::{Digest, Sha256};

use self::header::Header;
pub use self::header::RecordError;
use crate::model::{CacheKey, Snapshot, snapshot::Sealed};

const SIGNATURE: [u8; 5] = *b"UDSN\x02";
/// Before a record that is encrypted.
pub(super) const ENCRYPTED_SIGNATURE: [u8; 5] = *b"UDSN\x03";
const HEAD: usize = 38;
/// What the script compares.
pub(super) const HEAD_COMPARED: usize = 34;
const COMPLETE: u8 = 1;
const COMPRESSED: u8 = 2;
/// Twice the 4 MiB limit of a document: room for a changed limit, and a bound on what a forged record can allocate.
const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Seven sections with their warnings take a few KB, and kept rows at most 32 KB. A decoded empty section takes a
/// hundred times its encoded bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// zstd's default: 30 KB of document in about 0.1 ms.
const COMPRESSION_LEVEL: i32 = 3;

#[must_use]
pub fn encode(snapshot: &Snapshot, compress_above: usize) -> Bytes {
    let header = Header::of(snapshot).encode_to_vec();
    let compressed = (snapshot.payload.len() > compress_above)
        .then(|| zstd::bulk::compress(&snapshot.payload, COMPRESSION_LEVEL).ok())
        .flatten()
        .filter(|frame| frame.len() < snapshot.payload.len());
    let payload: &[u8] = compressed.as_deref().unwrap_or(&snapshot.payload);
    let flags = if snapshot.complete() { COMPLETE } else { 0 } | if compressed.is_some() { COMPRESSED } else { 0 };

    let mut record = BytesMut::with_capacity(HEAD + header.len() + payload.len());
    record.put_slice(&SIGNATURE);
    record.put_u32(0);
    record.put_u8(flags);
    record.put_i64(snapshot.as_of.timestamp_micros());
    record.put_i64(snapshot.read_position_max());
    record.put_slice(&log_digest(&snapshot.epoch));
    // No header reaches 4 GiB. Readers refuse one beyond the limit.
    record.put_u32(u32::try_from(header.len()).unwrap_or(u32::MAX));
    record.put_slice(&header);
    record.put_slice(payload);
    let checksum = crc32fast::hash(&record[9..]);
    record[5..9].copy_from_slice(&checksum.to_be_bytes());
    record.freeze()
}

/// Decodes the record of `key`. Total: any bytes give a snapshot or an error.
pub fn decode(record: &Bytes, key: &CacheKey) -> Result<Snapshot, RecordError> {
    if record.len() < HEAD || !record.starts_with(&SIGNATURE) {
        return Err(RecordError::Signature);
    }
    if crc32fast::hash(&record[9..]).to_be_bytes() != record[5..9] {
        return Err(RecordError::Checksum);
    }
    let flags = record[9];
    let as_of = DateTime::from_timestamp_micros(i64::from_be_bytes(array(&record[10..18])))
        .ok_or(RecordError::Invalid("as_of"))?;
    let header_len = usize::try_from(u32::from_be_bytes(array(&record[34..38])))
        .ok()
        .filter(|len| *len <= HEADER_BYTES_MAX && *len <= record.len() - HEAD)
        .ok_or(RecordError::Invalid("header length"))?;

    let header = Header::decode(record.slice(HEAD..HEAD + header_len))?;
    if !header.names(key) {
        return Err(RecordError::Identity);
    }
    let expires_at = DateTime::from_timestamp_micros(header.expires_at).ok_or(RecordError::Invalid("expires_at"))?;
    let (sections, payload_len) = header.sections(PAYLOAD_BYTES_MAX)?;

    let stored = record.slice(HEAD + header_len..);
    let payload = if flags & COMPRESSED == 0 {
        stored
    } else {
        zstd::bulk::decompress(&stored, payload_len).map_err(|_| RecordError::Invalid("compression"))?.into()
    };
    if payload.len() != payload_len {
        return Err(RecordError::Invalid("payload length"));
    }
    let epoch = header.epoch.into();
    Ok(Sealed { key: key.clone(), epoch, payload, sections, as_of, expires_at }.into())
}

/// The head of a record: when its document was assembled, and the digest of its log. None if it is none of this layout.
pub(super) fn assembled(head: &[u8]) -> Option<(DateTime<Utc>, [u8; 8])> {
    let is_signed = head.starts_with(&SIGNATURE) || head.starts_with(&ENCRYPTED_SIGNATURE);
    let is_ours = head.len() >= HEAD_COMPARED && is_signed;
    let as_of = is_ours.then(|| DateTime::from_timestamp_micros(i64::from_be_bytes(array(&head[10..18])))).flatten()?;
    Some((as_of, array(&head[26..34])))
}

/// Eight bytes that tell one invalidation log from another. A collision would keep an unusable record until
/// it expires, nothing more.
fn log_digest(epoch: &str) -> [u8; 8] {
    array(&Sha256::digest(epoch)[..8])
}

/// The callers slice exactly `N` bytes.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests;
