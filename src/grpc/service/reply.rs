//! The reply with a served snapshot: the sealed document, where it came from, its age.
//!
//! The document is the very bytes of the memory tier, unless sections were selected. The facts that are the same in
//! every reply are encoded once, too. Only the rest is encoded for each reply.

use chrono::{DateTime, Utc};
use http::HeaderValue;
use prost::Message as _;

use crate::{
    error::Error,
    grpc::request_id::once,
    model::{CacheStatus, SealedSection, SectionSet, Served, Snapshot, Tier, snapshot::EncodedParts},
    proto::{
        SealedResponse,
        v1::{self, CacheInfo, SectionReport},
    },
};

/// The reply to GetComprehensiveUserData, given at `now`.
#[must_use]
pub fn get(served: &Served, sections: SectionSet, force_refresh: bool, now: DateTime<Utc>) -> SealedResponse {
    let snapshot = &served.snapshot;
    let said = snapshot.encoded_parts(|| EncodedParts {
        info: lasting_info(snapshot).encode_to_vec(),
        reports: encoded_reports(snapshot, SectionSet::ALL),
    });
    let passing = passing_info(served, force_refresh, now);
    let data = snapshot.select(sections);
    if sections.is_all() {
        return SealedResponse::new(&said.info, &passing, &said.reports, data);
    }
    SealedResponse::new(&said.info, &passing, &encoded_reports(snapshot, sections), data)
}

/// The reply, or the sizes of its sections if it has more than `bytes_max`.
pub fn unless_too_large(
    reply: SealedResponse,
    snapshot: &Snapshot,
    sections: SectionSet,
    bytes_max: usize,
) -> Result<SealedResponse, Error> {
    let bytes = reply.encoded_len();
    if bytes <= bytes_max {
        return Ok(reply);
    }
    let sizes = sections.iter().filter_map(|section| Some((section, snapshot.section(section)?.range.len())));
    Err(Error::TooLarge { bytes, sections: sizes.collect() })
}

/// The metadata that says where a document came from.
pub const X_CACHE: &str = "x-cache";

/// The same in one line of metadata, for readers of logs: `HIT; tier=memory; age=12`.
#[must_use]
pub fn x_cache(served: &Served, now: DateTime<Utc>) -> HeaderValue {
    let (word, tier) = match served.status {
        CacheStatus::Hit(tier) => ("HIT", Some(tier)),
        CacheStatus::Shared => ("SHARED", None),
        CacheStatus::Assembled => ("MISS", None),
        CacheStatus::Refreshed => ("REFRESH", None),
        CacheStatus::Stale(tier) => ("STALE", Some(tier)),
    };
    // Concatenated: formatting costs a hit more than finding its document does.
    let tier = tier.map_or(["", ""], |tier| ["; tier=", tier.name()]);
    let mut age = itoa::Buffer::new();
    let line = [word, tier[0], tier[1], "; age=", age.format(age_of(served, now).as_secs())].concat();
    once(HeaderValue::try_from(line).expect("ASCII words and digits"))
}

/// Where an answer came from, as the contract numbers it.
#[must_use]
pub fn cache_status(status: CacheStatus) -> v1::CacheStatus {
    match status {
        CacheStatus::Hit(Tier::Memory) => v1::CacheStatus::HitMemory,
        CacheStatus::Hit(Tier::Redis) => v1::CacheStatus::HitRedis,
        CacheStatus::Hit(Tier::Database) => v1::CacheStatus::HitDatabase,
        CacheStatus::Shared => v1::CacheStatus::Shared,
        CacheStatus::Assembled => v1::CacheStatus::Assembled,
        CacheStatus::Refreshed => v1::CacheStatus::Refreshed,
        CacheStatus::Stale(_) => v1::CacheStatus::Stale,
    }
}

/// The facts that are the same in every reply with this snapshot.
fn lasting_info(snapshot: &Snapshot) -> CacheInfo {
    CacheInfo {
        data_hash: snapshot.key.hash.to_string(),
        assembled_at: Some(snapshot.as_of.into()),
        expires_at: Some(snapshot.expires_at.into()),
        complete: snapshot.complete(),
        ..CacheInfo::default()
    }
}

/// The facts of this reply.
fn passing_info(served: &Served, force_refresh: bool, now: DateTime<Utc>) -> CacheInfo {
    CacheInfo {
        is_cached: matches!(served.status, CacheStatus::Hit(_) | CacheStatus::Stale(_)),
        force_refresh,
        timestamp: Some(now.into()),
        status: cache_status(served.status).into(),
        age: Some(age_of(served, now).into()),
        verified: served.verified,
        token: served.token.to_text(),
        changes: changes(served.changes_known).into(),
        ..CacheInfo::default()
    }
}

fn changes(known: bool) -> v1::Changes {
    if known { v1::Changes::Known } else { v1::Changes::NotWatched }
}

fn encoded_reports(snapshot: &Snapshot, sections: SectionSet) -> Vec<u8> {
    let reports = sections.iter().filter_map(|section| snapshot.section(section)).map(report);
    SealedResponse::encoded_reports(&reports.collect::<Vec<_>>())
}

/// Another machine may have made the snapshot by a clock that is ahead of ours: never negative.
fn age_of(served: &Served, now: DateTime<Utc>) -> std::time::Duration {
    (now - served.snapshot.as_of).to_std().unwrap_or_default()
}

fn report(section: &SealedSection) -> SectionReport {
    let facts = &section.facts;
    SectionReport {
        section: facts.section.into(),
        state: facts.state.into(),
        read_at: Some(facts.read_at.into()),
        took: Some(facts.took.into()),
        generator: facts.generator.into(),
        reason: facts.reason.clone(),
        warnings: facts.warnings.clone(),
        detail: facts.detail.clone(),
    }
}

#[cfg(test)]
mod tests;
