//! What is read again, when, and by whom: a document near its end, one with a section that failed, one
//! that is outdated in part, and a load that has just failed.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tonic::Code;
use userdata::{
    model::{SECTIONS, Section, SectionSet, UserHash, UserId},
    proto::v1::{CacheStatus, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse},
};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    ask::{everything_of, invalidate, of, reason, stats},
    cluster::{Cluster, Layout, cluster},
    database::{BOTH, Kind},
    get::{ask, complete, failed, get, refresh, report, status},
    seeded::seeded_today,
    server::{Client, Server, Settings, serve},
    sources::{break_table, mend_table},
    wait_for,
};

/// How often a source has run, over all instances.
async fn runs(clients: &[Client], source: &str) -> i64 {
    let mut runs = 0;
    for client in clients {
        runs += stats(client).await.sources.iter().find(|stats| stats.source == source).unwrap().runs;
    }
    runs
}

/// The sections that `after` has read again.
fn read_again(before: &GetComprehensiveUserDataResponse, after: &GetComprehensiveUserDataResponse) -> Vec<Section> {
    let read_at = |reply, section| report(reply, section).read_at;
    SECTIONS.into_iter().filter(|section| read_at(before, *section) != read_at(after, *section)).collect()
}

async fn with(settings: Settings) -> (Server, Client) {
    let server = serve(settings).await;
    let client = server.client().await;
    (server, client)
}

#[tokio::test]
async fn a_partial_document_is_completed_by_reading_only_what_failed() {
    for kind in BOTH {
        let (place, db) = seeded_today(kind).await;
        let settings = Settings::on(&place.url).with("loads.partial_ttl", "200ms");
        let (_server, mut client) = with(settings).await;
        break_table(&db, "content_recommendations").await;
        let partial = get(&mut client, "1").await;
        assert!(!complete(&partial), "{kind:?}");
        mend_table(&db, "content_recommendations").await;

        let whole = wait_for("a complete document", async || Some(get(&mut client, "1").await).filter(complete)).await;
        assert_eq!(read_again(&partial, &whole), [Section::Recommendations], "{kind:?}");
        for source in ["onboarding", "performance", "gap_analysis", "ai_analysis"] {
            assert_eq!(runs(&[client.clone()], source).await, 1, "{kind:?}: {source}");
        }
        let anew = refresh(&mut client, "1").await.data.unwrap();
        let (mut whole, partial) = (whole.data.unwrap(), partial.data.unwrap());
        assert_eq!(std::mem::take(&mut whole.recommendations_data), anew.recommendations_data, "{kind:?}");
        assert_eq!(whole, partial, "{kind:?}: the rest is as it was");
    }
}

#[tokio::test]
async fn a_document_gets_the_analysis_that_came_late_and_nobody_waits_for_it() {
    let (place, _db) = seeded_today(Kind::Sqlite).await;
    let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
    ai.hold();
    let settings = Settings::on(&place.url).with("ai.base_url", ai.base_url()).with("ai.model", "fake-1");
    // Long: it is not by expiring that the partial document goes.
    let settings = settings.with("loads.partial_ttl", "10m").with("ai.soft_timeout", "200ms");
    let (_server, mut client) = with(settings).await;
    let partial = get(&mut client, "1").await;
    assert_eq!(failed(&partial), [(Section::AiAnalysis, "AI_TIMEOUT")]);
    ai.called(1).await;
    assert_eq!(status(&get(&mut client, "1").await), CacheStatus::HitMemory);

    ai.release();
    let whole = wait_for("the analysis", async || {
        let reply = get(&mut client, "1").await;
        assert_eq!(status(&reply), CacheStatus::HitMemory, "somebody waited");
        Some(reply).filter(complete)
    })
    .await;
    assert_eq!(read_again(&partial, &whole), [Section::AiAnalysis]);
    assert_eq!(ai.calls(), 1);
}

#[tokio::test]
async fn a_document_near_its_end_is_assembled_anew_once_and_nobody_waits_for_it() {
    let cluster = cluster(Layout::Postgres).await.with_redis().await;
    cluster.sources.add_user("1", &[11]).await;
    let settings = cluster.settings();
    // Due after 2 s; it expires after 20 s, however busy the machine is.
    let settings = settings.with("database.ttl", "20s").with("redis.ttl", "20s").with("memory.ttl", "20s");
    let settings = settings.with("database.ttl_jitter", 0).with("database.refresh_after", 0.1);
    let (_first, one) = with(settings.clone()).await;
    let (_second, two) = with(settings).await;
    let mut clients = [one, two];
    let assembled_at = |reply: &GetComprehensiveUserDataResponse| {
        let at = reply.cache_info.as_ref().unwrap().assembled_at.unwrap();
        (at.seconds, at.nanos)
    };
    let first = get(&mut clients[0], "1").await;
    cluster.has_stored(1).await;

    let mut seen = BTreeSet::from([assembled_at(&first)]);
    wait_for("both to have the next one", async || {
        let mut newest = Vec::new();
        for client in &mut clients {
            let reply = get(client, "1").await;
            let hit =
                matches!(status(&reply), CacheStatus::HitMemory | CacheStatus::HitRedis | CacheStatus::HitDatabase);
            assert!(hit, "somebody waited: {:?}", status(&reply));
            newest.push(assembled_at(&reply));
        }
        seen.extend(newest.iter().copied());
        newest.iter().all(|at| *at > assembled_at(&first)).then_some(())
    })
    .await;
    assert_eq!(runs(&clients, "onboarding").await, i64::try_from(seen.len()).unwrap(), "one instance for both");
}

/// Invalidates some sections, as a change in the sources does.
async fn invalidate_sections(cluster: &Cluster, user: &str, sections: SectionSet) {
    let transaction = cluster.cache.begin().await.unwrap();
    for statement in [
        "UPDATE invalidation_log_head SET position = position + 1 WHERE id = 1".to_owned(),
        format!(
            "INSERT INTO invalidation_log (position, user_hash, strategy_id, sections, nonce, created_at) \
             SELECT position, {}, NULL, {}, 7, CURRENT_TIMESTAMP FROM invalidation_log_head",
            UserHash::of(&UserId::parse(user).unwrap()).column(),
            sections.bits()
        ),
    ] {
        transaction.execute_unprepared(&statement).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn an_invalidation_of_a_section_re_reads_that_and_what_is_made_from_it() {
    use Section::{AiAnalysis, Derived, GapAnalysis, Performance, Recommendations, Strategy};
    for layout in [Layout::Sqlite, Layout::Postgres] {
        let cluster = cluster(layout).await.with_redis().await;
        cluster.sources.add_user("1", &[11]).await;
        let (_server, mut client) = with(cluster.settings()).await;
        let mut before = get(&mut client, "1").await;
        for (invalidated, expected) in [
            (vec![Performance], vec![Performance]),
            (vec![Strategy], vec![Strategy, AiAnalysis, GapAnalysis, Derived]),
            (vec![GapAnalysis, Recommendations], vec![GapAnalysis, Recommendations]),
        ] {
            cluster.has_stored(1).await;
            invalidate_sections(&cluster, "1", invalidated.iter().copied().collect()).await;
            let after = wait_for("the invalidation to arrive", async || {
                Some(get(&mut client, "1").await).filter(|reply| status(reply) == CacheStatus::Assembled)
            })
            .await;
            assert_eq!(read_again(&before, &after), expected, "{layout:?} {invalidated:?}");
            before = after;
        }
    }
}

#[tokio::test]
async fn a_document_about_another_strategy_reuses_onboarding_alone() {
    let cluster = cluster(Layout::Sqlite).await;
    cluster.sources.add_user("1", &[11, 12]).await;
    let (_server, mut client) = with(cluster.settings()).await;
    let before = get(&mut client, "1").await;
    cluster.has_stored(1).await;
    cluster.sources.activate(12).await;
    invalidate_sections(&cluster, "1", [Section::Strategy].into_iter().collect()).await;
    let after = wait_for("the invalidation to arrive", async || {
        Some(get(&mut client, "1").await).filter(|reply| status(reply) == CacheStatus::Assembled)
    })
    .await;
    assert_eq!(after.data.as_ref().unwrap().strategy_data.as_ref().unwrap().strategy_id, 12);
    let others: Vec<Section> = SECTIONS.into_iter().filter(|section| *section != Section::Onboarding).collect();
    assert_eq!(read_again(&before, &after), others);
    assert_eq!(runs(&[client], "onboarding").await, 1);
}

/// One instance with a required source that fails, and no lease's outcome to tell so.
async fn failing() -> (Cluster, Server, Client) {
    let cluster = cluster(Layout::Sqlite).await;
    cluster.sources.add_user("1", &[11]).await;
    let (server, client) = with(cluster.settings().with("load_lease.outcome_max", "0s")).await;
    break_table(&cluster.sources.db, "onboarding_sessions").await;
    (cluster, server, client)
}

#[tokio::test]
async fn after_a_load_that_failed_the_failure_is_the_answer_for_a_moment() {
    let (_cluster, _server, mut client) = failing().await;
    let first = ask(&mut client, "1", false).await.unwrap_err();
    assert_eq!((first.code(), reason(&first).as_str()), (Code::Unavailable, "SOURCE_FAILED"), "{first}");
    let mut asked = 0;
    wait_for("the pause to end", async || {
        let again = ask(&mut client, "1", false).await.unwrap_err();
        assert_eq!(reason(&again), "SOURCE_FAILED", "{again}");
        asked += 1;
        (runs(&[client.clone()], "onboarding").await == 2).then_some(())
    })
    .await;
    assert!(asked > 2, "hardly anybody asked in the pause: {asked}");
}

#[tokio::test]
async fn a_pause_after_a_failure_ends_with_an_invalidation_and_does_not_hold_back_a_refresh() {
    let (cluster, _server, mut client) = failing().await;
    ask(&mut client, "1", false).await.unwrap_err();
    mend_table(&cluster.sources.db, "onboarding_sessions").await;
    invalidate(&client, everything_of("1")).await.unwrap();
    assert_eq!(status(&get(&mut client, "1").await), CacheStatus::Assembled);

    let (cluster, _server, mut client) = failing().await;
    ask(&mut client, "1", false).await.unwrap_err();
    mend_table(&cluster.sources.db, "onboarding_sessions").await;
    let anew = GetComprehensiveUserDataRequest { force_refresh: true, ..of("1") };
    let reply = client.get_comprehensive_user_data(anew).await.unwrap().into_inner();
    assert_eq!(status(&reply), CacheStatus::Refreshed);
}
