//! What surrounds the reads: wishes, access counts, statistics, cleaning and warming.

use std::time::Duration;

use tonic::Code;
use userdata::{
    model::{Generator, State},
    proto::v1::{
        AccessedEntry, CacheStatus, CleanupCacheRequest, GetCacheStatsRequest, GetCacheStatsResponse,
        GetComprehensiveUserDataRequest, InvalidateCacheRequest, WarmCacheRequest, WarmCacheResponse, WarmItem,
    },
};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    call::about,
    database::{BOTH, Kind, TestDatabase, demo_database},
    redis::redis,
    server::{Client, Server, Settings, serve},
    wait_for,
};

/// Accesses are written only at the end.
const NO_ACCESS_COUNTS: &str = "1h";

async fn stats(client: &mut Client) -> GetCacheStatsResponse {
    client.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner()
}

/// Runs begun, of each source in its order.
fn runs(stats: &GetCacheStatsResponse) -> Vec<i64> {
    stats.sources.iter().map(|source| source.runs).collect()
}

/// Hits and misses of memory, Redis and table.
fn look_ups(stats: &GetCacheStatsResponse) -> Vec<(i64, i64)> {
    stats.tiers.iter().map(|tier| (tier.hits, tier.misses)).collect()
}

fn counts(stats: &GetCacheStatsResponse) -> Vec<(&str, i64)> {
    stats.most_accessed.iter().map(|entry| (entry.user_id.as_str(), entry.access_count)).collect()
}

#[tokio::test]
async fn hits_are_counted_and_listed_by_count() {
    for kind in BOTH {
        let place = demo_database(kind).await;
        let server = serve(Settings::on(&place.url).with("database.access_counts_every", "20ms")).await;
        let (caller, mut client) = (server.caller().await, server.client().await);
        for user in ["1", "2", "3"] {
            caller.get(user).await;
        }
        place.wait_for_documents(3).await;
        for (user, hits) in [("1", 2), ("2", 5), ("3", 1)] {
            for _ in 0..hits {
                assert_eq!(caller.get(user).await.status(), CacheStatus::HitMemory);
            }
        }
        let expected = [("2", 5), ("1", 2), ("3", 1)];
        let counted =
            wait_for("the counts", async || Some(stats(&mut client).await).filter(|stats| counts(stats) == expected))
                .await;
        let newest = counted.most_accessed.iter().map(|entry| entry.last_accessed.as_ref().unwrap().seconds).max();
        let row = AccessedEntry { last_accessed: None, ..counted.most_accessed[0].clone() };
        let data_hash = caller.get("2").await.info.data_hash;
        let hour_ago = userdata::clock::Clock::system().utc().timestamp() - 3600;
        assert!(newest.unwrap() > hour_ago, "{kind:?}: UTC");
        assert_eq!(row, AccessedEntry { user_id: "2".into(), access_count: 5, data_hash, ..Default::default() });

        let two = GetCacheStatsRequest { most_accessed_limit: 2, instance_only: false };
        assert_eq!(client.get_cache_stats(two).await.unwrap().into_inner().most_accessed.len(), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn hits_write_nothing_until_the_access_counts_are_due_and_a_shutdown_loses_none() {
    for kind in BOTH {
        let (place, redis) = (demo_database(kind).await, redis().await);
        let settings = Settings::on(&place.url)
            .with("redis.url", redis.url())
            .with("database.access_counts_every", NO_ACCESS_COUNTS)
            .with("memory.ttl", "1ms");
        let mut server = serve(settings).await;
        let caller = server.caller().await;
        caller.get("1").await;
        place.wait_for_documents(1).await;
        let (mut hits, mut tiers) = (0, Vec::new());
        wait_for("hits in Redis and in the table", async || {
            let answer = caller.get("1").await;
            assert!(answer.info.is_cached, "{:?}", answer.info);
            hits += 1;
            tiers.push(answer.status());
            if hits == 20 {
                redis.command("FLUSHALL").await;
            }
            (hits >= 40 && [CacheStatus::HitRedis, CacheStatus::HitDatabase].iter().all(|tier| tiers.contains(tier)))
                .then_some(())
        })
        .await;
        let access_count = async || {
            let rows = place.rows("SELECT access_count FROM comprehensive_user_data_cache").await;
            rows[0].try_get::<i64>("", "access_count").unwrap()
        };
        assert_eq!(access_count().await, 0, "{kind:?}");
        server.terminate().await;
        assert_eq!(access_count().await, hits, "{kind:?}");
    }
}

#[tokio::test]
async fn statistics_count_rows_look_ups_answers_and_source_runs() {
    for kind in BOTH {
        let place = demo_database(kind).await;
        let server = serve(Settings::on(&place.url)).await;
        let (caller, mut client) = (server.caller().await, server.client().await);
        for user in ["1", "1", "1", "2"] {
            caller.get(user).await;
        }
        place.wait_for_documents(2).await;
        place.execute("UPDATE comprehensive_user_data_cache SET expires_at = '2020-01-01 00:00:00.000000' WHERE user_id = '2'").await;

        let stats = stats(&mut client).await;
        assert_eq!(
            (stats.total_entries, stats.expired_entries, stats.valid_entries),
            (Some(2), Some(1), Some(1)),
            "{kind:?}"
        );
        assert_eq!(look_ups(&stats), [(2, 2), (0, 0), (0, 2)], "{kind:?}: memory, Redis, table");
        let enabled: Vec<_> = stats.tiers.iter().map(|tier| (tier.tier.as_str(), tier.enabled)).collect();
        assert_eq!(enabled, [("memory", true), ("redis", false), ("database", true)], "{kind:?}");
        assert_eq!((stats.tiers[0].entries, stats.tiers[2].entries), (Some(2), Some(2)), "{kind:?}");
        assert!(stats.tiers[0].bytes.unwrap() > 10_000 && stats.tiers[0].latency_p99.is_some(), "{kind:?}");
        assert!((stats.tiers[0].hit_rate - 0.5).abs() < 1e-9 && (stats.hit_rate - 0.5).abs() < 1e-9, "{kind:?}");
        assert_eq!(runs(&stats), [2; 6], "{kind:?}");
        assert!(stats.sources.iter().all(|source| source.failures == 0 && source.in_flight == 0), "{kind:?}");
        assert_eq!((stats.requests, stats.stale_answers, stats.shared_answers), (4, 0, 0), "{kind:?}");
        assert_eq!(stats.runs_avoided, 10, "{kind:?}: two hits, five sources");
        assert_eq!(stats.version, env!("CARGO_PKG_VERSION"));
        assert!(stats.uptime.is_some() && stats.invalidation_log.is_some(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_refresh_reads_no_tier_and_no_kept_ai_response_and_is_stored_as_usual() {
    let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
    let (place, redis) = (demo_database(Kind::Sqlite).await, redis().await);
    let settings = Settings::on(&place.url)
        .with("redis.url", redis.url())
        .with("ai.base_url", ai.base_url())
        .with("ai.model", "fake-1");
    let server = serve(settings).await;
    let (caller, mut client) = (server.caller().await, server.client().await);
    let refresh = || GetComprehensiveUserDataRequest { force_refresh: true, ..about("1") };

    let assembled = caller.get("1").await;
    let report = &assembled.sections[2];
    assert_eq!((report.generator(), report.state()), (Generator::Model, State::Ok), "{report:?}");
    place.wait_for_documents(1).await;
    let parameters = Some(serde_json::Map::from_iter([("other".to_owned(), true.into())]).into());
    let other = caller.ask(GetComprehensiveUserDataRequest { parameters, ..about("1") }).await.unwrap();
    assert_eq!(
        (other.status(), ai.calls()),
        (CacheStatus::Assembled, 1),
        "another document, but the AI response cache knows"
    );
    place.wait_for_documents(2).await;
    let before = stats(&mut client).await;
    place.execute("UPDATE content_strategies SET name = 'renamed' WHERE user_id = 1").await;
    for times in 1..=2 {
        let refreshed = caller.ask(refresh()).await.unwrap();
        assert_eq!(refreshed.status(), CacheStatus::Refreshed);
        assert!(!refreshed.info.is_cached && refreshed.info.force_refresh, "{:?}", refreshed.info);
        assert!(refreshed.x_cache.starts_with("REFRESH; age="), "{}", refreshed.x_cache);
        assert_eq!(ai.calls(), 1 + times, "the AI response cache was not read");
        let held = caller.get("1").await;
        assert_eq!(held.status(), CacheStatus::HitMemory, "it was stored");
        assert_eq!(held.data, refreshed.data);
    }
    let after = stats(&mut client).await;
    let [memory, redis, table] = look_ups(&before)[..] else { panic!("three tiers") };
    assert_eq!(look_ups(&after), [(memory.0 + 2, memory.1), redis, table], "only the two gets looked");
    assert_eq!(runs(&after), [4, 4, 3, 4, 4, 4], "once, the AI response cache spared the model");
}

#[tokio::test]
async fn an_older_document_than_wished_is_assembled_again() {
    let place = demo_database(Kind::Sqlite).await;
    let server = serve(Settings::on(&place.url)).await;
    let caller = server.caller().await;
    let within = |max_age: Duration| GetComprehensiveUserDataRequest { max_age: Some(max_age.into()), ..about("1") };
    let first = caller.get("1").await;
    let hour = caller.ask(within(Duration::from_secs(3600))).await.unwrap();
    assert_eq!((hour.status(), &hour.info.assembled_at), (CacheStatus::HitMemory, &first.info.assembled_at));
    let now = caller.ask(within(Duration::ZERO)).await.unwrap();
    assert_eq!(now.status(), CacheStatus::Assembled);
    assert!(now.info.assembled_at.as_ref().unwrap().seconds >= first.info.assembled_at.as_ref().unwrap().seconds);
    assert_ne!(now.info.assembled_at, first.info.assembled_at);
    let held = caller.get("1").await;
    assert_eq!((held.status(), held.info.assembled_at), (CacheStatus::HitMemory, now.info.assembled_at), "stored");
}

#[tokio::test]
async fn an_unknown_user_is_remembered_until_an_invalidation() {
    let place = demo_database(Kind::Sqlite).await;
    let server = serve(Settings::on(&place.url)).await;
    let (caller, mut client) = (server.caller().await, server.client().await);
    let unknown = async || caller.ask(about("999999")).await.unwrap_err().code();
    for _ in 0..3 {
        assert_eq!(unknown().await, Code::NotFound);
    }
    assert_eq!(stats(&mut client).await.sources[0].runs, 1, "asked once");

    place.execute("INSERT INTO onboarding_sessions (user_id) VALUES ('999999')").await;
    assert_eq!(unknown().await, Code::NotFound, "remembered");
    let other = InvalidateCacheRequest { user_id: "1".to_owned(), ..Default::default() };
    client.invalidate_cache(other).await.unwrap();
    assert_eq!(unknown().await, Code::NotFound, "another user's invalidation is none of its business");
    let theirs = InvalidateCacheRequest { user_id: "999999".to_owned(), ..Default::default() };
    client.invalidate_cache(theirs).await.unwrap();
    assert_eq!(caller.get("999999").await.status(), CacheStatus::Assembled);

    // A strategy of another user is as unknown as one that is not there.
    for strategy in [2, 777_777] {
        let asked = || GetComprehensiveUserDataRequest { strategy_id: Some(strategy), ..about("1") };
        let runs_before = stats(&mut client).await.sources[1].runs;
        for _ in 0..2 {
            assert_eq!(caller.ask(asked()).await.unwrap_err().code(), Code::NotFound, "{strategy}");
        }
        assert_eq!(stats(&mut client).await.sources[1].runs, runs_before + 1, "{strategy}");
    }
}

async fn cleanup(client: &mut Client, limit: i32) -> i64 {
    client.cleanup_cache(CleanupCacheRequest { limit }).await.unwrap().into_inner().deleted_count
}

/// Makes the rows of these users look as if they had expired and were made so long ago.
async fn age(place: &TestDatabase, users: &str, created_at: &str) {
    let set = format!("SET expires_at = '2020-01-01 00:00:00.000000', created_at = {created_at}");
    place.execute(&format!("UPDATE comprehensive_user_data_cache {set} WHERE user_id IN ({users})")).await;
}

async fn serve_six(place: &TestDatabase, settings: Settings) -> Server {
    let server = serve(settings).await;
    let caller = server.caller().await;
    for user in 1..=6 {
        caller.get(&user.to_string()).await;
    }
    place.wait_for_documents(6).await;
    server
}

#[tokio::test]
async fn cleanup_deletes_expired_rows_up_to_the_limit() {
    for kind in BOTH {
        let place = demo_database(kind).await;
        // Smaller than what is deleted: it takes several statements.
        let server = serve_six(&place, Settings::on(&place.url).with("database.sweep_batch", 2)).await;
        let mut client = server.client().await;
        assert_eq!(cleanup(&mut client, 0).await, 0, "{kind:?}: nothing has expired");
        age(&place, "'1', '2', '3', '4', '5'", "created_at").await;
        assert_eq!(cleanup(&mut client, 1).await, 1, "{kind:?}");
        assert_eq!(place.documents().await, 5, "{kind:?}");
        assert_eq!(cleanup(&mut client, 3).await, 3, "{kind:?}");
        assert_eq!(cleanup(&mut client, 0).await, 1, "{kind:?}");
        assert_eq!(cleanup(&mut client, 0).await, 0, "{kind:?}");
        let left = place.rows("SELECT user_id FROM comprehensive_user_data_cache").await;
        assert_eq!((left.len(), left[0].try_get::<String>("", "user_id").unwrap().as_str()), (1, "6"), "{kind:?}");
    }
}

#[tokio::test]
async fn the_sweep_deletes_what_is_too_old_to_be_served_stale_and_nothing_else() {
    for (kind, hours_ago) in [
        (Kind::Sqlite, "strftime('%Y-%m-%d %H:%M:%f', 'now', '-{} hours') || '000'"),
        (Kind::Postgres, "now() AT TIME ZONE 'utc' - INTERVAL '{} hours'"),
    ] {
        let place = demo_database(kind).await;
        let settings = Settings::on(&place.url).with("database.sweep_every", "50ms").with("database.sweep_batch", 2);
        let _server = serve_six(&place, settings).await;
        age(&place, "'4', '5'", &hours_ago.replace("{}", "23")).await;
        age(&place, "'1', '2', '3'", &hours_ago.replace("{}", "25")).await;
        place.wait_for_documents(3).await;
        let left = place.rows("SELECT user_id FROM comprehensive_user_data_cache ORDER BY user_id").await;
        let left: Vec<String> = left.iter().map(|row| row.try_get("", "user_id").unwrap()).collect();
        assert_eq!(left, ["4", "5", "6"], "{kind:?}");
    }
}

async fn warm(client: &mut Client, request: WarmCacheRequest) -> Vec<WarmCacheResponse> {
    let mut stream = client.warm_cache(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push(message);
    }
    messages
}

fn item(user: &str) -> WarmItem {
    WarmItem { user_id: user.to_owned(), strategy_id: None }
}

#[tokio::test]
async fn warming_tells_its_progress_and_each_items_error_and_later_reads_are_hits() {
    let place = demo_database(Kind::Sqlite).await;
    let server = serve(Settings::on(&place.url)).await;
    let (caller, mut client) = (server.caller().await, server.client().await);
    caller.get("3").await;
    let twice_one = ["1", "2", "1", "999999", "3", "4", "4"].map(item).to_vec();
    let messages = warm(&mut client, WarmCacheRequest { items: twice_one, concurrency: 2, ..Default::default() }).await;

    let progress: Vec<_> = messages.iter().map(|message| (message.done, message.total)).collect();
    assert_eq!(progress, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)], "duplicates are merged");
    let mut outcomes: Vec<_> = messages
        .iter()
        .map(|message| {
            let user = message.item.as_ref().unwrap().user_id.as_str();
            (user, message.status(), message.error.as_ref().map(|error| error.code))
        })
        .collect();
    outcomes.sort_unstable();
    let assembled = CacheStatus::Assembled;
    let not_found = Some(Code::NotFound as i32);
    assert_eq!(
        outcomes,
        [
            ("1", assembled, None),
            ("2", assembled, None),
            ("3", CacheStatus::HitMemory, None),
            ("4", assembled, None),
            ("999999", CacheStatus::Unspecified, not_found),
        ]
    );
    for user in ["1", "2", "3", "4"] {
        assert_eq!(caller.get(user).await.status(), CacheStatus::HitMemory, "{user}");
    }
}

#[tokio::test]
async fn the_most_accessed_are_warmed_after_a_restart() {
    let place = demo_database(Kind::Postgres).await;
    let mut server =
        serve_six(&place, Settings::on(&place.url).with("database.access_counts_every", NO_ACCESS_COUNTS)).await;
    let caller = server.caller().await;
    for user in ["5", "5", "2", "2", "2", "6"] {
        caller.get(user).await;
    }
    server.terminate().await;
    server.start().await;
    let (caller, mut client) = (server.caller().await, server.client().await);
    let messages = warm(&mut client, WarmCacheRequest { most_accessed: 2, concurrency: 1, ..Default::default() }).await;
    let warmed: Vec<_> =
        messages.iter().map(|message| (message.item.clone().unwrap().user_id, message.status())).collect();
    assert_eq!(warmed, ["2", "5"].map(|user| (user.to_owned(), CacheStatus::HitDatabase)));
    for (user, status) in
        [("2", CacheStatus::HitMemory), ("5", CacheStatus::HitMemory), ("6", CacheStatus::HitDatabase)]
    {
        let answer = caller.get(user).await;
        assert_eq!(answer.status(), status, "{user}");
        assert!(answer.sections.iter().all(|report| report.state() == State::Ok), "{user}");
    }
}
