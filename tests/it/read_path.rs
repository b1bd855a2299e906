//! The way of a read: sources, memory, Redis, table; and that it is the same document everywhere.

use std::{collections::BTreeSet, time::Duration};

use prost::bytes::Bytes;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use userdata::{
    clock::Clock,
    model::{SECTIONS, Section, State},
    proto::{
        Timestamp,
        v1::{CacheStatus, ComprehensiveUserData, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse},
    },
};

use testkit::{
    call::{Answer, about},
    database::{BOTH, Kind, TestDatabase, database, demo_database},
    redis::redis,
    server::{Server, Settings, serve},
    wait_for,
};

/// A section's top-level fields, by their numbers in the document.
const FIELDS: [(Section, std::ops::RangeInclusive<u64>); 7] = [
    (Section::Onboarding, 6..=9),
    (Section::Strategy, 10..=12),
    (Section::AiAnalysis, 13..=13),
    (Section::GapAnalysis, 14..=14),
    (Section::Performance, 15..=15),
    (Section::Recommendations, 16..=16),
    (Section::Derived, 1..=5),
];

fn users() -> Vec<String> {
    let named = ["demo_anna", "demo_ben", "demo_chloé"].map(str::to_owned);
    (1..=30).map(|number: u32| number.to_string()).chain(named).collect()
}

#[tokio::test]
async fn the_demo_assembles_once_then_answers_from_memory_and_after_a_crash_from_the_table() {
    let place = database(Kind::Sqlite).await;
    let mut server = serve(Settings { flags: vec!["--demo".into()], ..Settings::on(&place.url) }).await;
    let caller = server.caller().await;

    let assembled = caller.get("1").await;
    check_info(&assembled, CacheStatus::Assembled, "MISS; age=");
    let held = caller.get("1").await;
    check_info(&held, CacheStatus::HitMemory, "HIT; tier=memory; age=");
    check_same(&assembled, &held);

    place.wait_for_documents(1).await;
    server.kill().await;
    server.start().await;
    let caller = server.caller().await;
    let stored = caller.get("1").await;
    check_info(&stored, CacheStatus::HitDatabase, "HIT; tier=database; age=");
    check_same(&assembled, &stored);
    check_info(&caller.get("1").await, CacheStatus::HitMemory, "HIT; tier=memory; age=");
}

#[tokio::test]
async fn another_instance_answers_from_redis_then_from_memory() {
    let (place, redis) = (demo_database(Kind::Postgres).await, redis().await);
    let settings = Settings::on(&place.url).with("redis.url", redis.url());
    let (first, second) = (serve(settings.clone()).await, serve(settings).await);
    let (one, two) = (first.caller().await, second.caller().await);

    let assembled = one.get("1").await;
    wait_for("the record", async || (redis.keys_of_users().await == 2).then_some(())).await;
    let shared = two.get("1").await;
    check_info(&shared, CacheStatus::HitRedis, "HIT; tier=redis; age=");
    check_same(&assembled, &shared);
    assert_eq!(shared.info.expires_at, assembled.info.expires_at, "its life is the document's, not the tier's");
    check_info(&two.get("1").await, CacheStatus::HitMemory, "HIT; tier=memory; age=");
    assert_eq!(one.get("1").await.info.token, shared.info.token, "both know the same log");
}

/// What every verified answer says about itself.
fn check_info(answer: &Answer, status: CacheStatus, x_cache: &str) {
    let info = &answer.info;
    assert_eq!(info.status(), status);
    let hit = matches!(status, CacheStatus::HitMemory | CacheStatus::HitRedis | CacheStatus::HitDatabase);
    assert_eq!(info.is_cached, hit, "{status:?}");
    assert_eq!(info.data_hash, "b344bf28a524085fa6df83d7a5bd26eb42474d30bc53d793e08eff8586b9504d", "of 1_None_{{}}");
    assert!(info.verified && info.complete && !info.force_refresh, "{info:?}");
    assert!(answer.x_cache.starts_with(x_cache), "{}", answer.x_cache);
    let token: userdata::model::Token = info.token.parse().unwrap();
    assert!(!token.epoch.is_empty());

    let (assembled, given, expires) = (micros(&info.assembled_at), micros(&info.timestamp), micros(&info.expires_at));
    let age = Duration::try_from(info.age.as_ref().unwrap()).unwrap();
    assert_eq!(i64::try_from(age.as_micros()).unwrap(), given - assembled, "{info:?}");
    let life = (expires - assembled) / 1_000_000;
    assert!((3600 * 9 / 10..=3600 * 11 / 10 + 2).contains(&life), "an hour, give or take a tenth: {life} s");

    let reported: Vec<Section> = answer.sections.iter().map(|report| report.section()).collect();
    assert_eq!(reported, SECTIONS, "{status:?}");
    for report in &answer.sections {
        assert_eq!(report.state(), State::Ok, "{report:?}");
        assert!(micros(&report.read_at) >= assembled && report.took.is_some(), "{report:?}");
    }
}

/// The same document, down to the byte, and the same reports about it.
fn check_same(one: &Answer, other: &Answer) {
    assert_eq!(one.data, other.data, "{:?}, {:?}", one.status(), other.status());
    assert_eq!(one.sections, other.sections, "{:?}, {:?}", one.status(), other.status());
    assert_eq!(one.info.assembled_at, other.info.assembled_at);
    assert_eq!(one.info.data_hash, other.info.data_hash);
}

fn micros(time: &Option<Timestamp>) -> i64 {
    let time = time.as_ref().unwrap();
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1000
}

#[tokio::test]
async fn selected_sections_are_the_full_answers_bytes_and_nothing_else() {
    let place = demo_database(Kind::Sqlite).await;
    let server = serve(Settings::on(&place.url)).await;
    let caller = server.caller().await;
    let full = caller.get("1").await;

    let all = SECTIONS.to_vec();
    let mut selections: Vec<Vec<Section>> = all.iter().map(|section| vec![*section]).collect();
    selections.extend([
        vec![],
        all.iter().rev().copied().collect(),
        vec![Section::Performance, Section::Derived],
        vec![Section::Strategy, Section::Strategy],
        all,
    ]);
    for asked in selections {
        let sections = asked.iter().map(|section| (*section).into()).collect();
        let selected = caller.ask(GetComprehensiveUserDataRequest { sections, ..about("1") }).await.unwrap();
        assert_eq!(selected.status(), CacheStatus::HitMemory, "the key is the same: {asked:?}");
        check_selected(&full, &selected, &asked);
    }
    // Also of a document that is assembled for it: another user's.
    let sections = vec![Section::GapAnalysis.into()];
    let selected = caller.ask(GetComprehensiveUserDataRequest { sections, ..about("2") }).await.unwrap();
    assert_eq!(selected.status(), CacheStatus::Assembled);
    check_selected(&caller.get("2").await, &selected, &[Section::GapAnalysis]);
}

fn check_selected(full: &Answer, selected: &Answer, asked: &[Section]) {
    let wanted = |section: &Section| asked.is_empty() || asked.contains(section);
    let numbers: Vec<u64> =
        FIELDS.iter().filter(|(section, _)| wanted(section)).flat_map(|(_, numbers)| numbers.clone()).collect();
    let expected: Vec<_> =
        top_level_fields(&full.data).into_iter().filter(|(number, _)| numbers.contains(number)).collect();
    assert!(numbers.iter().all(|number| expected.iter().any(|(present, _)| present == number)), "{asked:?}");
    assert_eq!(top_level_fields(&selected.data), expected, "{asked:?}");

    let reports: Vec<_> = full.sections.iter().filter(|report| wanted(&report.section())).cloned().collect();
    assert_eq!(selected.sections, reports, "in the contract's order: {asked:?}");
}

/// A message's fields in the order of its bytes: number and bytes, tag included.
fn top_level_fields(mut message: &[u8]) -> Vec<(u64, Bytes)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let mut rest = message;
        let tag = prost::encoding::decode_varint(&mut rest).unwrap();
        assert_eq!(tag & 7, 2, "a document's fields all have a length");
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).unwrap()).unwrap();
        let (field, behind) = message.split_at(message.len() - rest.len() + length);
        fields.push((tag >> 3, Bytes::copy_from_slice(field)));
        message = behind;
    }
    fields
}

#[tokio::test]
async fn every_demo_users_document_comes_back_from_its_row_byte_for_byte() {
    for kind in BOTH {
        let place = demo_database(kind).await;
        let mut server = serve(Settings::on(&place.url)).await;
        let caller = server.caller().await;
        let users = users();
        let mut assembled = Vec::new();
        for user in &users {
            let answer = caller.get(user).await;
            assert_eq!(answer.status(), CacheStatus::Assembled, "{kind:?} {user}");
            assembled.push(answer);
        }
        place.wait_for_documents(33).await;
        server.kill().await;
        server.start().await;
        let caller = server.caller().await;
        for (user, assembled) in users.iter().zip(&assembled) {
            let stored = caller.get(user).await;
            assert_eq!(stored.status(), CacheStatus::HitDatabase, "{kind:?} {user}");
            check_same(assembled, &stored);
            let document = assembled.document();
            let json = serde_json::to_string(&document).unwrap();
            assert_eq!(serde_json::from_str::<ComprehensiveUserData>(&json).unwrap(), document, "{kind:?} {user}");
            assert_eq!(row_of(&place, user).await, json, "{kind:?} {user}");
        }
    }
}

/// The stored document of a user's question without strategy and parameters.
async fn row_of(place: &TestDatabase, user: &str) -> String {
    let sql = format!(
        "SELECT CAST(comprehensive_data AS TEXT) AS document FROM comprehensive_user_data_cache WHERE user_id = '{user}'"
    );
    let rows = place.rows(&sql).await;
    assert_eq!(rows.len(), 1, "{user}");
    rows[0].try_get("", "document").unwrap()
}

#[tokio::test]
async fn the_command_line_prints_the_document_as_the_row_holds_it() {
    let place = demo_database(Kind::Sqlite).await;
    let server = serve(Settings::on(&place.url)).await;
    for user in ["1", "28", "29", "demo_chloé"] {
        server.caller().await.get(user).await;
        wait_for("its row", async || {
            let sql =
                format!("SELECT 1 AS n FROM comprehensive_user_data_cache WHERE user_id = '{user}' AND format > 0");
            (!place.rows(&sql).await.is_empty()).then_some(())
        })
        .await;
        let row = row_of(&place, user).await;
        let printed = printed(&server, user);
        let reply: Json = serde_json::from_str(&printed).unwrap();
        assert_eq!(reply["data"], serde_json::from_str::<Json>(&row).unwrap(), "{user}");
        let reply: GetComprehensiveUserDataResponse = serde_json::from_str(&printed).unwrap();
        assert_eq!(serde_json::to_string(&reply.data.unwrap()).unwrap(), row, "the same order of keys: {user}");
        // Compact, and under the original names.
        assert!(row.starts_with(&format!(r#"{{"user_id":"{user}","industry":""#)), "{user}: {}", &row[..60]);
    }
}

fn printed(server: &Server, user: &str) -> String {
    let address = format!("http://{}", server.address);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_userdata"));
    let done = command.args(["get", user, "-o", "json", "--addr", &address]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn promotion_never_makes_a_document_live_longer() {
    let (place, redis) = (demo_database(Kind::Postgres).await, redis().await);
    // Every get looks below memory.
    let settings = Settings::on(&place.url).with("redis.url", redis.url()).with("memory.ttl", "1ms");
    let server = serve(settings).await;
    let caller = server.caller().await;
    let mut lives = BTreeSet::new();
    for user in 1..=12 {
        let user = user.to_string();
        let assembled = caller.get(&user).await;
        let (begins, ends) = (micros(&assembled.info.assembled_at), micros(&assembled.info.expires_at));
        let life_s = (ends - begins) / 1_000_000;
        assert!((3240..=3960).contains(&life_s), "within a tenth of an hour: {life_s} s");
        lives.insert(life_s);

        place.wait_for_documents(user.parse().unwrap()).await;
        let stored = caller.get(&user).await;
        assert_eq!((stored.status(), micros(&stored.info.expires_at)), (CacheStatus::HitRedis, ends));
        check_life_in_redis(&redis, &user, ends).await;

        redis.command("FLUSHALL").await;
        let stored = caller.get(&user).await;
        assert_eq!(stored.status(), CacheStatus::HitDatabase);
        let in_row = end_in_row(&place, &user).await;
        // The row's times are the database's, and writing it takes a moment.
        assert!((in_row - ends).abs() < 1_000_000, "{} us", in_row - ends);
        assert!(micros(&stored.info.expires_at) <= in_row);
        let promoted = caller.until(&user, CacheStatus::HitRedis).await;
        assert!(micros(&promoted.info.expires_at) <= in_row);
        check_life_in_redis(&redis, &user, in_row).await;
        redis.command("FLUSHALL").await;
    }
    assert!(lives.len() > 6, "spread, or what was loaded together expires together: {lives:?}");
}

/// When a user's row expires, in microseconds since 1970.
async fn end_in_row(place: &TestDatabase, user: &str) -> i64 {
    let sql =
        "SELECT CAST(EXTRACT(EPOCH FROM expires_at) * 1000000 AS BIGINT) AS ends FROM comprehensive_user_data_cache";
    place.rows(&format!("{sql} WHERE user_id = '{user}'")).await[0].try_get("", "ends").unwrap()
}

async fn check_life_in_redis(redis: &testkit::redis::Redis, user: &str, ends: i64) {
    let user = hex::encode(&Sha256::digest(user)[..16]);
    // The user's only record, by Redis' own clock, which is this machine's. Another one's may still be stored.
    let script = "local t=redis.call('TIME') for _,k in ipairs(redis.call('KEYS','*'..ARGV[1]..'*')) do \
                  if string.find(k,'}:',1,true) and string.sub(k,-5)~=':keys' then return t[1]*1000+math.floor(t[2]/1000)+redis.call('PTTL',k) end end";
    let answer = redis.command(&format!("EVAL \"{script}\" 0 {user}")).await;
    let ends_in_redis: i64 = answer.strip_prefix(':').unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    // What is left is told before the record is on its way; its own expiry is what its readers go by.
    assert!(ends_in_redis <= ends / 1000 + 1000, "{} ms longer", ends_in_redis - ends / 1000);
}

#[tokio::test]
async fn what_has_expired_is_never_a_hit_and_is_assembled_again() {
    let (place, redis) = (demo_database(Kind::Sqlite).await, redis().await);
    let settings = Settings::on(&place.url)
        .with("redis.url", redis.url())
        .with("memory.ttl", "300ms")
        .with("redis.ttl", "600ms")
        .with("database.ttl", "1s")
        // Nothing is assembled ahead of its end, which a caller might share.
        .with("database.refresh_after", 1);
    let server = serve(settings).await;
    let caller = server.caller().await;
    let mut assemblies = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    let all =
        ["CACHE_STATUS_ASSEMBLED", "CACHE_STATUS_HIT_MEMORY", "CACHE_STATUS_HIT_REDIS", "CACHE_STATUS_HIT_DATABASE"];
    wait_for("four assemblies", async || {
        let asked = Clock::system().utc().timestamp_micros();
        let answer = caller.get("1").await;
        let info = &answer.info;
        if info.is_cached {
            assert!(asked <= micros(&info.expires_at), "{info:?}");
            assert_ne!(info.status(), CacheStatus::Stale, "the sources are there");
        }
        statuses.insert(info.status().as_str_name());
        assemblies.insert(micros(&info.assembled_at));
        (assemblies.len() >= 4 && all[..3].iter().all(|status| statuses.contains(status))).then_some(())
    })
    .await;
    assert!(statuses.iter().all(|status| all.contains(status)), "{statuses:?}");
}
