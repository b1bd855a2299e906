//! Tiers and sources that lie, hang and die: what is answered meanwhile, and that they come back by themselves.

use std::time::Duration;

use tonic::{Code, Status};
use userdata::{
    clock::Clock,
    model::{Generator, Section, State},
    proto::v1::{
        CacheStatus, Freshness, GetCacheStatsRequest, GetComprehensiveUserDataRequest, InvalidateCacheRequest,
        TierStats,
    },
};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    call::{Answer, Caller, about},
    database::{BOTH, Kind, TestDatabase, demo_database, migrate_cache, seed},
    load::{Load, TimedCall},
    postgres::own_postgres,
    redis::redis,
    server::{Server, Settings, serve},
    sources::{break_table, mend_table},
    wait_for,
};

/// Far beyond any timeout on the way of a hit, and below what a caller would take for a failure.
const SOON: Duration = Duration::from_secs(10);

/// The defaults, of what is broken here.
fn hurried(settings: Settings) -> Settings {
    let settings = settings.with("redis.timeout", "50ms").with("database.timeout", "200ms");
    settings.with("invalidation_log.renew_timeout", "50ms").with("sources.soft_timeout", "1s")
}

async fn tier(server: &Server, name: &str) -> TierStats {
    let stats = server.client().await.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
    stats.tiers.into_iter().find(|tier| tier.tier == name).unwrap()
}

async fn invalidate(server: &Server, user: &str) -> Result<(), Status> {
    let request = InvalidateCacheRequest { user_id: user.to_owned(), ..Default::default() };
    server.client().await.invalidate_cache(request).await.map(drop)
}

fn strict(user: &str) -> GetComprehensiveUserDataRequest {
    GetComprehensiveUserDataRequest { freshness: Freshness::Strict.into(), ..about(user) }
}

fn check_all_answered(asked: &[TimedCall]) {
    assert!(!asked.is_empty());
    for TimedCall { took, outcome } in asked {
        let answer = outcome.as_ref().unwrap_or_else(|status| panic!("after {took:?}: {status}"));
        assert!(*took < SOON, "{took:?}: {:?}", answer.info);
        assert!(!answer.data.is_empty());
    }
}

#[tokio::test]
async fn garbage_in_redis_is_a_miss_that_heals_and_is_counted() {
    let (place, redis) = (demo_database(Kind::Postgres).await, redis().await);
    // Every get looks below memory.
    let settings = Settings::on(&place.url).with("redis.url", redis.url()).with("memory.ttl", "1ms");
    let server = serve(settings).await;
    let caller = server.caller().await;
    let (one, two) = (caller.get("1").await, caller.get("2").await);
    place.wait_for_documents(2).await;
    let cases = [
        ("noise", "'noise that is long enough to be taken for a record'"),
        ("nothing", "''"),
        ("cut off", "string.sub(v,1,-10)"),
        ("cut off in its head", "string.sub(v,1,20)"),
        ("another version", "string.sub(v,1,4)..string.char(9)..string.sub(v,6)"),
        ("changed bytes", "string.sub(v,1,-3)..'!?'"),
        ("another user's", "others[k]"),
    ];
    for (garbage, value) in cases {
        for user in ["1", "2"] {
            caller.until(user, CacheStatus::HitRedis).await;
        }
        let before = tier(&server, "redis").await;
        let script = format!(
            "local records={{}} for _,k in ipairs(redis.call('KEYS','*')) do \
             if string.find(k,'}}:',1,true) and string.sub(k,-5)~=':keys' then table.insert(records,k) end end \
             local others={{[records[1]]=redis.call('GET',records[2]),[records[2]]=redis.call('GET',records[1])}} \
             for _,k in ipairs(records) do local v=redis.call('GET',k) redis.call('SET',k,{value},'KEEPTTL') end return #records"
        );
        let written = server.writes("redis").await;
        assert_eq!(redis.command(&format!("EVAL \"{script}\" 0")).await, ":2", "{garbage}");
        for (more, user, original) in [(1, "1", &one), (2, "2", &two)] {
            let answer = caller.get(user).await;
            assert_eq!(answer.status(), CacheStatus::HitDatabase, "{garbage}");
            assert_eq!(answer.data, original.data, "{garbage}");
            // Behind the answer. Who asked before that would find the garbage again, and the document would be stored twice.
            server.has_written("redis", written + more).await;
            assert_eq!(caller.until(user, CacheStatus::HitRedis).await.data, original.data, "{garbage}");
        }
        let after = tier(&server, "redis").await;
        assert_eq!((after.garbage - before.garbage, after.errors - before.errors), (2, 0), "{garbage}");
        assert!(after.misses - before.misses >= 2 && after.breaker_state == "closed", "{garbage}: {after:?}");
    }
}

#[tokio::test]
async fn a_redis_key_of_another_type_is_a_miss_that_heals() {
    let (place, redis) = (demo_database(Kind::Postgres).await, redis().await);
    let settings = Settings::on(&place.url).with("redis.url", redis.url()).with("memory.ttl", "1ms");
    let server = serve(settings).await;
    let caller = server.caller().await;
    let original = caller.get("1").await;
    place.wait_for_documents(1).await;
    // The record's key and the index', one after the other.
    for pattern in ["*}:*[0-9a-f]", "*:keys"] {
        caller.until("1", CacheStatus::HitRedis).await;
        let script =
            format!("local k=redis.call('KEYS','{pattern}')[1] redis.call('DEL',k) return redis.call('LPUSH',k,'x')");
        assert_eq!(redis.command(&format!("EVAL \"{script}\" 0")).await, ":1", "{pattern}");
        for _ in 0..5 {
            assert_eq!(caller.get("1").await.data, original.data, "{pattern}");
        }
        caller.until("1", CacheStatus::HitRedis).await;
        assert_eq!(tier(&server, "redis").await.breaker_state, "closed", "{pattern}");
    }
}

#[tokio::test]
async fn garbage_in_a_row_is_a_miss_that_heals_and_is_counted() {
    let broken: [(&str, &str, i64); 2] =
        [("broken JSON", "comprehensive_data = '{\"user_id\": '", 1), ("broken section facts", "sections = '[{]'", 1)];
    let cases: [(&str, &str, i64); 7] = [
        ("no document", "comprehensive_data = '[1, 2]'", 1),
        ("another type", "comprehensive_data = '{\"user_id\": 5}'", 1),
        ("no section facts", "sections = '[]'", 1),
        ("other section facts", "sections = '{\"section\": 1}'", 1),
        ("an unknown section", "sections = '[{\"section\": \"SECTION_HOROSCOPE\"}]'", 1),
        ("another layout", "format = 2", 1),
        ("of another log", "log_epoch = 'other'", 0),
    ];
    for kind in BOTH {
        let place = demo_database(kind).await;
        let server = serve(Settings::on(&place.url).with("memory.ttl", "1ms")).await;
        let caller = server.caller().await;
        caller.get("1").await;
        place.wait_for_documents(1).await;
        // PostgreSQL lets no broken JSON in.
        let possible = broken.iter().filter(|_| kind == Kind::Sqlite).chain(&cases);
        for (garbage, set, counted) in possible {
            assert_eq!(caller.get("1").await.status(), CacheStatus::HitDatabase, "{kind:?}: before {garbage}");
            let before = tier(&server, "database").await;
            let written = server.writes("database").await;
            place.execute(&format!("UPDATE comprehensive_user_data_cache SET {set}")).await;
            let answer = caller.get("1").await;
            assert_eq!(answer.status(), CacheStatus::Assembled, "{kind:?}: {garbage}");
            let healed = replaced(&server, &caller, written).await;
            for document in [answer.document(), healed.document()] {
                assert!(document.user_id == "1" && document.gap_analysis.is_some(), "{kind:?}: {garbage}");
            }
            let after = tier(&server, "database").await;
            // More than one get may have met it before it was replaced.
            let found = after.garbage - before.garbage;
            assert!(if *counted == 0 { found == 0 } else { found >= 1 }, "{kind:?}: {garbage}: {found}");
            assert_eq!(
                (after.errors - before.errors, after.breaker_state.as_str()),
                (0, "closed"),
                "{kind:?}: {garbage}"
            );
        }
    }
}

/// The next answer from the table, after one that was assembled. All that was assembled is stored by then: a document that
/// is stored later would replace the next garbage.
async fn replaced(server: &Server, caller: &Caller, written_before: u64) -> Answer {
    let mut assembled = 1;
    wait_for("a document from the table", async || {
        server.has_written("database", written_before + assembled).await;
        let answer = caller.get("1").await;
        assembled += u64::from(answer.status() == CacheStatus::Assembled);
        (answer.status() == CacheStatus::HitDatabase).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn redis_may_die_hang_and_return_under_load() {
    let (place, mut redis) = (demo_database(Kind::Postgres).await, redis().await);
    let settings = Settings::on(&place.url).with("redis.url", redis.url()).with("redis.timeout", "50ms");
    let settings = settings.with("memory.ttl", "1ms");
    let (server, other) = (serve(settings.clone()).await, serve(settings).await);
    let load = Load::start(&server.caller().await, &["1", "2", "3", "4"], 4);
    let from_redis =
        |asked: &TimedCall| asked.outcome.as_ref().is_ok_and(|answer| answer.status() == CacheStatus::HitRedis);
    check_all_answered(&load.until("hits in Redis", from_redis).await);

    redis.kill().await;
    load.more(100).await;
    wait_for("its breaker to open", async || (tier(&server, "redis").await.breaker_state != "closed").then_some(()))
        .await;
    let without = load.more(100).await;
    check_all_answered(&without);
    assert!(without.iter().rev().take(50).all(|asked| !from_redis(asked)));
    redis.start().await;
    check_all_answered(&load.until("hits in Redis after its restart", from_redis).await);

    redis.freeze();
    check_all_answered(&load.more(200).await);
    redis.thaw();
    load.more(50).await;
    check_all_answered(&load.until("hits in Redis after it hung", from_redis).await);

    // The other instance, which was not asked meanwhile, finds what this one has stored.
    other.caller().await.until("1", CacheStatus::HitRedis).await;
    assert_eq!(tier(&other, "redis").await.breaker_state, "closed");
}

#[tokio::test]
async fn the_database_with_the_sources_on_it_may_die_and_return_under_load() {
    let mut postgres = own_postgres().await;
    let url = postgres.url("postgres");
    seed(&url).await;
    // A pool whose database is away waits that long for it to return.
    let settings = hurried(Settings::on(&url));
    let settings = settings.with("sources.hard_timeout", "1500ms").with("sources.breaker_pause", "200ms");
    let server = serve(settings.clone()).await;
    let impatient = serve(settings.clone().with("invalidation_log.unverified_max", "1s")).await;
    let forgetful = serve(settings.with("memory.ttl", "1ms")).await;
    let caller = server.caller().await;
    for user in ["1", "2", "3"] {
        caller.get(user).await;
    }
    impatient.caller().await.get("1").await;
    forgetful.caller().await.get("1").await;
    let load = Load::start(&caller, &["1", "2", "3"], 3);
    check_all_answered(&load.more(30).await);

    postgres.kill().await;
    let is_verified = |asked: &TimedCall| asked.outcome.as_ref().is_ok_and(|answer| answer.info.verified);
    check_all_answered(&load.until("unverified answers", |asked| !is_verified(asked)).await);
    let meanwhile = load.more(100).await;
    check_all_answered(&meanwhile);
    for asked in &meanwhile {
        let info = &asked.outcome.as_ref().unwrap().info;
        assert_eq!((info.status(), info.verified, info.is_cached), (CacheStatus::HitMemory, false, true));
    }
    let cold = caller.ask(about("9")).await.unwrap_err();
    assert_eq!(cold.code(), Code::Unavailable, "{cold}");
    assert_eq!(caller.ask(strict("1")).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(invalidate(&server, "2").await.unwrap_err().code(), Code::Unavailable, "no invalidation is durable");

    // Cached answers are given for a while only.
    let impatient = impatient.caller().await;
    wait_for("the end of unverified answers", async || {
        impatient.ask(about("1")).await.err().filter(|error| error.code() == Code::Unavailable)
    })
    .await;
    // A copy whose time in memory is up is the last good one.
    let last_good = forgetful.caller().await.get("1").await;
    assert_eq!((last_good.status(), last_good.info.verified), (CacheStatus::Stale, false), "{:?}", last_good.info);
    assert!(last_good.x_cache.starts_with("STALE; tier=memory; age="), "{}", last_good.x_cache);

    load.more(1).await;
    postgres.start().await;
    // All but the user whose failed invalidation dropped the copy here had an answer all the time.
    let recovering = load.until("verified answers", is_verified).await;
    for asked in &recovering {
        assert!(asked.took < SOON, "{:?}", asked.took);
    }
    wait_for("cold users to be answered", async || caller.ask(about("9")).await.ok()).await;
    wait_for("invalidations", async || invalidate(&server, "3").await.ok()).await;
    assert!(caller.until("3", CacheStatus::HitMemory).await.info.verified);
    wait_for("the impatient one", async || impatient.ask(about("1")).await.ok()).await;
}

#[tokio::test]
async fn with_the_sources_elsewhere_everybody_is_answered_while_the_caches_database_is_down() {
    let (mut postgres, sources) = (own_postgres().await, demo_database(Kind::Sqlite).await);
    let url = postgres.url("postgres");
    migrate_cache(&url).await;
    let settings = hurried(Settings::on(&url)).with("sources.database_url", &sources.url);
    let settings = settings.with("sources.soft_timeout", "8s");
    let server = serve(settings.clone()).await;
    let caller = server.caller().await;
    let warm = caller.get("1").await;
    assert!(warm.info.verified);
    let load = Load::start(&caller, &["1"], 1);

    postgres.kill().await;
    for user in 2..=12 {
        let began = Clock::system().now();
        let cold = caller.get(&user.to_string()).await;
        assert_eq!(cold.status(), CacheStatus::Assembled, "{user}");
        assert!(cold.info.complete);
        assert!(Clock::system().now().since(began) < SOON, "{user}");
    }
    let unverified = |asked: &TimedCall| asked.outcome.as_ref().is_ok_and(|answer| !answer.info.verified);
    check_all_answered(&load.until("unverified answers", unverified).await);
    assert_eq!(caller.get("12").await.status(), CacheStatus::HitMemory);

    // An instance that starts now, with a Redis that is not there either.
    let settings = settings.with("redis.url", "redis://127.0.0.1:1");
    let joining = serve(settings).await;
    let answer = joining.caller().await.get("1").await;
    assert_eq!((answer.status(), answer.info.verified), (CacheStatus::Assembled, false));
    assert_eq!(answer.document().user_id, "1");
    assert_eq!(joining.caller().await.ask(strict("1")).await.unwrap_err().code(), Code::Unavailable);

    postgres.start().await;
    let is_verified = |asked: &TimedCall| asked.outcome.as_ref().is_ok_and(|answer| answer.info.verified);
    check_all_answered(&load.until("verified answers", is_verified).await);
    let joining = joining.caller().await;
    wait_for("the joining instance", async || {
        let answer = joining.get("1").await;
        (answer.info.verified && answer.info.is_cached).then_some(())
    })
    .await;
    // The table is used again.
    wait_for("rows", async || {
        caller.get("20").await;
        invalidate(&server, "20").await.unwrap();
        let tier = tier(&server, "database").await;
        (tier.breaker_state == "closed").then_some(())
    })
    .await;
}

/// A database whose tables can be taken away, and a server that looks below memory at every get.
async fn breakable(kind: Kind) -> (TestDatabase, Server, Caller) {
    let place = demo_database(kind).await;
    let settings = Settings::on(&place.url)
        .with("memory.ttl", "1ms")
        .with("sources.breaker_failures", 1000)
        .with("database.access_counts_every", "1h");
    let server = serve(settings).await;
    let caller = server.caller().await;
    (place, server, caller)
}

async fn take_away(place: &TestDatabase, table: &str) {
    break_table(&place.connect().await, table).await;
}

async fn bring_back(place: &TestDatabase, table: &str) {
    mend_table(&place.connect().await, table).await;
}

async fn expire(place: &TestDatabase, user: &str) {
    let expired = "UPDATE comprehensive_user_data_cache SET expires_at = '2020-01-01 00:00:00.000000'";
    place.execute(&format!("{expired} WHERE user_id = '{user}'")).await;
}

#[tokio::test]
async fn the_last_good_document_is_served_stale_when_a_required_source_fails() {
    for kind in BOTH {
        let (place, server, caller) = breakable(kind).await;
        let original = caller.get("1").await;
        for user in ["2", "3"] {
            caller.get(user).await;
        }
        place.wait_for_documents(3).await;
        take_away(&place, "onboarding_sessions").await;
        assert_eq!(caller.get("1").await.status(), CacheStatus::HitDatabase, "{kind:?}: it has not expired");
        for user in ["1", "2"] {
            expire(&place, user).await;
        }

        let stale = caller.get("1").await;
        assert_eq!(
            (stale.status(), stale.info.is_cached, stale.info.verified),
            (CacheStatus::Stale, true, true),
            "{kind:?}"
        );
        assert_eq!((&stale.data, &stale.info.assembled_at), (&original.data, &original.info.assembled_at), "{kind:?}");
        assert!(stale.x_cache.starts_with("STALE; tier="), "{kind:?}: {}", stale.x_cache);
        let refused = caller.ask(strict("1")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{kind:?}: {refused}");

        let cold = caller.ask(about("8")).await.unwrap_err();
        assert_eq!(cold.code(), Code::Unavailable, "{kind:?}: nothing is made up: {cold}");
        invalidate(&server, "1").await.unwrap();
        let outdated = caller.ask(about("1")).await.unwrap_err();
        assert_eq!(outdated.code(), Code::Unavailable, "{kind:?}: {outdated}");

        bring_back(&place, "onboarding_sessions").await;
        for user in ["1", "2", "8"] {
            // A load's failure is the answer for a moment longer, so that callers do not repeat it at once.
            let answer = wait_for("the failure to be forgotten", async || caller.ask(about(user)).await.ok()).await;
            assert_eq!(answer.status(), CacheStatus::Assembled, "{kind:?}: {user}");
        }
    }
}

#[tokio::test]
async fn a_document_older_than_a_day_is_not_even_served_stale() {
    let (place, mut server, caller) = breakable(Kind::Sqlite).await;
    caller.get("1").await;
    place.wait_for_documents(1).await;
    server.kill().await;
    expire(&place, "1").await;
    let day_ago = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-25 hours') || '000'";
    place.execute(&format!("UPDATE comprehensive_user_data_cache SET as_of = {day_ago}")).await;
    take_away(&place, "onboarding_sessions").await;
    server.start().await;
    let error = server.caller().await.ask(about("1")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

fn life_s(answer: &Answer) -> i64 {
    answer.info.expires_at.as_ref().unwrap().seconds - answer.info.assembled_at.as_ref().unwrap().seconds
}

#[tokio::test]
async fn an_optional_source_that_fails_costs_its_section_only() {
    for kind in BOTH {
        let (place, server, caller) = breakable(kind).await;
        let original = caller.get("1").await;
        caller.get("3").await;
        place.wait_for_documents(2).await;
        take_away(&place, "content_recommendations").await;

        // Nothing to fall back on: absent, and named.
        let failed = caller.get("2").await;
        check_partial(&failed, State::Failed);
        assert!(failed.document().recommendations_data.is_empty(), "{kind:?}: nothing is made up");

        // The last good one, if it is not outdated.
        expire(&place, "1").await;
        let stale = caller.get("1").await;
        check_partial(&stale, State::Stale);
        assert_eq!(stale.document().recommendations_data, original.document().recommendations_data, "{kind:?}");
        assert_eq!(stale.sections[5].read_at, original.sections[5].read_at, "{kind:?}: with its age");
        assert_ne!(stale.sections[0].read_at, original.sections[0].read_at, "{kind:?}: the others are new");
        let refused = caller.ask(strict("1")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{kind:?}: {refused}");
        let others = vec![Section::Onboarding.into(), Section::Strategy.into()];
        let others = caller.ask(GetComprehensiveUserDataRequest { sections: others, ..strict("1") }).await.unwrap();
        assert!(others.sections.iter().all(|report| report.state() == State::Ok), "{kind:?}");
        invalidate(&server, "1").await.unwrap();
        check_partial(&caller.get("1").await, State::Failed);

        // A complete document is not replaced by a partial one.
        let refresh = GetComprehensiveUserDataRequest { force_refresh: true, ..about("3") };
        let refreshed = caller.ask(refresh).await.unwrap();
        assert_eq!((refreshed.status(), refreshed.info.complete), (CacheStatus::Refreshed, false), "{kind:?}");
        for _ in 0..5 {
            let kept = caller.get("3").await;
            assert_eq!((kept.status(), kept.info.complete), (CacheStatus::HitDatabase, true), "{kind:?}");
        }

        bring_back(&place, "content_recommendations").await;
        for user in ["1", "2"] {
            let whole = wait_for("a complete document", async || {
                expire(&place, user).await;
                Some(caller.get(user).await).filter(|answer| answer.info.complete)
            })
            .await;
            assert_eq!((whole.status(), whole.sections[5].state()), (CacheStatus::Assembled, State::Ok), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_model_that_fails_costs_its_section_only_and_one_that_is_late_is_not_asked_again() {
    let place = demo_database(Kind::Sqlite).await;
    let ai = FakeAi::saying([Say::Nothing, Say::status(500), Say::answer(&valid_answer())]).await;
    let settings = Settings::on(&place.url)
        .with("ai.base_url", ai.base_url())
        .with("ai.model", "fake-1")
        .with("ai.soft_timeout", "300ms")
        .with("memory.ttl", "1ms")
        .with("loads.partial_ttl", "1ms");
    let server = serve(settings).await;
    let caller = server.caller().await;
    let analysis = |answer: &Answer| answer.sections[2].clone();

    let failed = caller.get("1").await;
    assert_eq!((failed.status(), failed.info.complete), (CacheStatus::Assembled, false));
    let report = analysis(&failed);
    assert_eq!((report.state(), report.generator()), (State::Failed, Generator::Model), "{report:?}");
    assert!(report.reason.starts_with("AI_"), "{report:?}");
    assert!(failed.document().ai_analysis_results.is_none(), "the rules do not stand in");

    let answered =
        wait_for("an answer", async || Some(caller.get("1").await).filter(|answer| answer.info.complete)).await;
    assert_eq!(analysis(&answered).state(), State::Ok);
    assert!(!ai.newest_call().1.to_string().contains("user_id"), "whose it is, is not sent");

    ai.hold();
    let before = ai.calls();
    let late = caller.get("2").await;
    assert_eq!((analysis(&late).state(), analysis(&late).reason.as_str()), (State::Failed, "AI_TIMEOUT"));
    ai.called(before + 1).await;
    ai.release();
    let kept = wait_for("its answer", async || Some(caller.get("2").await).filter(|answer| answer.info.complete)).await;
    assert_eq!(analysis(&kept).generator(), Generator::Model);
    assert_eq!(ai.calls(), before + 1, "the late answer was kept");
}

fn check_partial(answer: &Answer, state: State) {
    assert_eq!((answer.status(), answer.info.complete), (CacheStatus::Assembled, false));
    assert!(life_s(answer) <= 30, "it does not live long: {} s", life_s(answer));
    for report in &answer.sections {
        let expected =
            if report.section() == Section::Recommendations { (state, "SQL_ERROR") } else { (State::Ok, "") };
        assert_eq!((report.state(), report.reason.as_str()), expected, "{report:?}");
    }
}
