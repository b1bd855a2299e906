//! What `tests/fuzz` feeds with bytes: the decoders of what comes from outside, and what has to hold of what they read.
//!
//! Each takes any bytes, and panics only where a decoder is wrong.

use prost::Message as _;

use crate::{
    aggregate::ai_analysis::reply,
    cache::tiers::{database::row, record},
    grpc::{refusal::Refusal, service::convert, transport::guarded_stream},
    model::{CacheKey, Parameters, Snapshot, Token, UserDataQuery, UserId},
    proto::v1::{GetComprehensiveUserDataRequest, InvalidateCacheRequest, WarmCacheRequest},
};

/// A record in Redis: what is read is read again as the same from what it is written as. Its checksum is made right.
pub fn record(input: &[u8]) {
    let mut input = input.to_vec();
    if input.len() > 9 {
        let checksum = crc32fast::hash(&input[9..]);
        input[5..9].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok(snapshot) = record::decode(&input.into(), &key()) else { return };
    is_whole(&snapshot);
    let written = record::encode(&snapshot, 0);
    let again = record::decode(&written, &key()).expect("what was written can be read");
    assert_eq!(*again, *snapshot);
}

/// A row of the cache table: two columns of JSON, separated by a byte 0.
pub fn row(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (document, sections) = input.split_once('\0').unwrap_or((&input, ""));
    let Some((read, again)) = row::read_twice(document.to_owned(), sections.to_owned(), &key()) else { return };
    is_whole(&read);
    assert_eq!(again.payload, read.payload);
    assert_eq!(again.sections, read.sections);
}

/// A token of an invalidation.
pub fn token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(token) = text.parse::<Token>() else { return };
    assert_eq!(token.to_text().parse(), Ok(token));
}

/// What an AI endpoint answers.
pub fn ai_answer(input: &[u8]) {
    reply::read_answer(input);
}

/// The messages of callers, after a byte that tells which.
pub fn request(input: &[u8]) {
    let Some((which, message)) = input.split_first() else { return };
    let refused = match which % 3 {
        0 => GetComprehensiveUserDataRequest::decode(message).map(|request| {
            convert::get(&request).map(|asked| {
                assert!((1..=UserId::BYTES_MAX).contains(&asked.query.user.as_str().len()));
            })
        }),
        1 => WarmCacheRequest::decode(message)
            .map(|request| convert::warm(&request).map(|asked| assert!((1..=16).contains(&asked.concurrency)))),
        _ => InvalidateCacheRequest::decode(message)
            .map(|request| convert::invalidate(request).map(|asked| assert!(!asked.reason.contains('\n')))),
    };
    if let Ok(Err(refusal)) = refused {
        assert!(matches!(refusal, Refusal::Invalid(violations) if !violations.is_empty()));
    }
}

/// What a connection begins with, in pieces.
pub fn preface(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(guarded_stream::read_in_pieces(input));
}

fn key() -> CacheKey {
    let user = UserId::parse("1").expect("a valid id");
    UserDataQuery::new(user, None, Parameters::none()).key().clone()
}

fn is_whole(snapshot: &Snapshot) {
    assert!(snapshot.sections.iter().all(|section| section.range.end <= snapshot.payload.len()));
}
