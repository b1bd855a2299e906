//! What a reply says about itself, and that it shares the document's bytes.

use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::{
    model::{
        Generator, Parameters, SECTIONS, Section, Snapshot, State, Token, UserDataQuery, UserId, document,
        snapshot::{Part, SectionFacts},
    },
    proto::v1::ComprehensiveUserData,
};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn served(status: CacheStatus, failed: Option<Section>) -> Served {
    let query = UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none());
    let whole = ComprehensiveUserData { user_id: "1".into(), industry: "technology".into(), ..Default::default() };
    let parts = document::encode_sections(whole)
        .into_iter()
        .map(|(section, bytes)| {
            let state = if failed == Some(section) { State::Failed } else { State::Ok };
            let facts = SectionFacts {
                section,
                state,
                generator: Generator::Database,
                read_at: noon(),
                took: Duration::from_millis(3),
                reason: String::new(),
                warnings: vec!["MALFORMED_COLUMN a.b".into()],
                detail: String::new(),
            };
            Part { facts, read_position: 1, bytes, rows: bytes::Bytes::new() }
        })
        .collect();
    let snapshot = Snapshot::seal(query.key().clone(), "inc".into(), noon(), noon() + TimeDelta::seconds(3600), parts);
    Served { snapshot, status, verified: true, changes_known: true, token: Token { epoch: "inc".into(), position: 7 } }
}

/// What a client makes of a reply.
fn read(
    served: &Served,
    sections: SectionSet,
    force_refresh: bool,
    now: DateTime<Utc>,
) -> v1::GetComprehensiveUserDataResponse {
    let reply = get(served, sections, force_refresh, now);
    v1::GetComprehensiveUserDataResponse::decode(reply.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn the_whole_document_is_shared_and_not_copied() {
    let served = served(CacheStatus::Hit(Tier::Memory), None);
    let reply = get(&served, SectionSet::ALL, false, noon());
    assert_eq!(reply.data().as_ptr(), served.snapshot.payload.as_ptr());
    assert_eq!(read(&served, SectionSet::ALL, false, noon()).data.unwrap().industry, "technology");
}

#[test]
fn reports_are_those_of_the_asked_sections_in_the_order_of_the_enum() {
    let served = served(CacheStatus::Assembled, None);
    let named = |sections| -> Vec<_> {
        read(&served, sections, false, noon()).sections.iter().map(SectionReport::section).collect()
    };
    assert_eq!(named(SectionSet::ALL), SECTIONS);
    assert_eq!(
        named([Section::Derived, Section::Strategy].into_iter().collect()),
        [Section::Strategy, Section::Derived]
    );
    let report = read(&served, SectionSet::ALL, false, noon()).sections.remove(0);
    assert_eq!((report.state(), report.generator()), (State::Ok, Generator::Database));
    assert_eq!((report.read_at, report.took), (Some(noon().into()), Some(Duration::from_millis(3).into())));
    assert_eq!(report.warnings, ["MALFORMED_COLUMN a.b"]);
}

#[test]
fn the_reply_says_where_it_came_from() {
    let now = noon() + TimeDelta::milliseconds(12_900);
    for (status, number, cached, line) in [
        (CacheStatus::Hit(Tier::Memory), v1::CacheStatus::HitMemory, true, "HIT; tier=memory; age=12"),
        (CacheStatus::Hit(Tier::Redis), v1::CacheStatus::HitRedis, true, "HIT; tier=redis; age=12"),
        (CacheStatus::Hit(Tier::Database), v1::CacheStatus::HitDatabase, true, "HIT; tier=database; age=12"),
        (CacheStatus::Shared, v1::CacheStatus::Shared, false, "SHARED; age=12"),
        (CacheStatus::Assembled, v1::CacheStatus::Assembled, false, "MISS; age=12"),
        (CacheStatus::Refreshed, v1::CacheStatus::Refreshed, false, "REFRESH; age=12"),
        (CacheStatus::Stale(Tier::Database), v1::CacheStatus::Stale, true, "STALE; tier=database; age=12"),
    ] {
        let served = served(status, None);
        let info = read(&served, SectionSet::ALL, false, now).cache_info.unwrap();
        assert_eq!((info.status(), info.is_cached, x_cache(&served, now).to_str().unwrap()), (number, cached, line));
    }
}

#[test]
fn what_is_of_one_reply_is_not_said_in_the_next() {
    let mut served = served(CacheStatus::Assembled, None);
    assert!(!read(&served, SectionSet::ALL, true, noon()).cache_info.unwrap().is_cached);
    served.status = CacheStatus::Hit(Tier::Memory);
    served.verified = false;
    served.token.position = 8;
    let info = read(&served, SectionSet::ALL, false, noon() + TimeDelta::seconds(9)).cache_info.unwrap();
    assert_eq!((info.is_cached, info.force_refresh, info.verified, info.token.as_str()), (true, false, false, "inc:8"));
    assert_eq!((info.age.unwrap().seconds, info.data_hash.len()), (9, 64));
}

#[test]
fn cache_info_is_complete() {
    let now = noon() + TimeDelta::seconds(2);
    let served = served(CacheStatus::Refreshed, Some(Section::AiAnalysis));
    assert_eq!(
        read(&served, SectionSet::ALL, true, now).cache_info.unwrap(),
        CacheInfo {
            is_cached: false,
            force_refresh: true,
            timestamp: Some(now.into()),
            status: v1::CacheStatus::Refreshed.into(),
            data_hash: "b344bf28a524085fa6df83d7a5bd26eb42474d30bc53d793e08eff8586b9504d".into(),
            assembled_at: Some(noon().into()),
            expires_at: Some((noon() + TimeDelta::seconds(3600)).into()),
            age: Some(Duration::from_secs(2).into()),
            verified: true,
            token: "inc:7".into(),
            complete: false,
            changes: v1::Changes::Known.into(),
        }
    );
}

#[test]
fn a_reply_too_large_names_the_asked_sections_and_their_sizes() {
    let served = served(CacheStatus::Assembled, None);
    let sections = [Section::Derived, Section::Strategy].into_iter().collect();
    let reply = get(&served, sections, false, noon());
    let bytes = reply.encoded_len();

    assert_eq!(unless_too_large(reply.clone(), &served.snapshot, sections, bytes).unwrap(), reply);

    let Err(Error::TooLarge { bytes: told, sections }) =
        unless_too_large(reply.clone(), &served.snapshot, sections, bytes - 1)
    else {
        panic!("too large")
    };
    assert_eq!((told, sections), (bytes, vec![(Section::Strategy, 0), (Section::Derived, reply.data().len())]));
}

#[test]
fn an_age_is_never_negative() {
    let served = served(CacheStatus::Hit(Tier::Redis), None);
    assert_eq!(x_cache(&served, noon() - TimeDelta::seconds(5)), "HIT; tier=redis; age=0");
}
