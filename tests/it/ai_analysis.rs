//! The AI analysis end to end: a configured endpoint, the cache of its responses, and what its failures cost.

mod cluster;

use std::time::Duration;

use sea_orm::DatabaseConnection;
use tokio::time::Instant;
use userdata::{
    aggregate::Plan,
    config,
    model::{Generator, Parameters, Section, SectionSet, State, UserDataQuery, UserId},
    proto::v1::{AiAnalysisResults, GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataResponse},
};

use testkit::{
    ai::{FakeAi, Say, valid_answer},
    assembly::{aggregator_asking, execute, noon, patient, scalar, serve_from},
    cluster::{Layout, cluster},
    database::{BOTH, Kind, TestDatabase},
    get::{complete, failed, get, invalidate, refresh, report},
    lines::by_lines,
    proxy::Network,
    seeded::seeded_today,
    server::{Client, Server, serve},
    wait_for,
};

/// A server with the demo and a model.
struct Modelled {
    endpoint: FakeAi,
    client: Client,
    db: DatabaseConnection,
    server: Server,
    _place: TestDatabase,
}

impl Modelled {
    async fn start(kind: Kind, replies: impl IntoIterator<Item = Say>, environment: &[(&str, &str)]) -> Self {
        let endpoint = FakeAi::saying(replies).await;
        let (place, db) = seeded_today(kind).await;
        let url = endpoint.base_url();
        let model = [("USERDATA__AI__BASE_URL", &url[..]), ("USERDATA__AI__MODEL", "fake-1")];
        let server = serve_from(&place, &[&model, environment].concat()).await;
        Self { endpoint, client: server.client().await, db, server, _place: place }
    }

    async fn get(&mut self, user: &str) -> GetComprehensiveUserDataResponse {
        get(&mut self.client, user).await
    }

    async fn invalidate(&mut self, user: &str) {
        invalidate(&mut self.client, user).await;
    }

    async fn stats(&mut self) -> GetCacheStatsResponse {
        self.client.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner()
    }

    async fn remembered(&self) -> String {
        scalar(&self.db, "SELECT CAST(COUNT(*) AS TEXT) FROM ai_response_cache").await.unwrap()
    }
}

fn titled(title: &str) -> Say {
    let mut answer = valid_answer();
    answer["content_recommendations"][0]["title"] = title.into();
    Say::answer(&answer)
}

fn results(reply: &GetComprehensiveUserDataResponse) -> &AiAnalysisResults {
    reply.data.as_ref().unwrap().ai_analysis_results.as_ref().expect("the section")
}

fn title(reply: &GetComprehensiveUserDataResponse) -> &str {
    &results(reply).content_recommendations[0].title
}

/// The section failed for this reason, nothing else did, and nothing stands in its place.
fn check_without(reply: &GetComprehensiveUserDataResponse, reason: &str) {
    assert_eq!(failed(reply), [(Section::AiAnalysis, reason)]);
    assert!(!complete(reply));
    assert_eq!(reply.data.as_ref().unwrap().ai_analysis_results, None);
    let info = reply.cache_info.as_ref().unwrap();
    let life = info.expires_at.unwrap().seconds - info.assembled_at.unwrap().seconds;
    assert!((0..=30).contains(&life), "lives {life} s");
}

#[tokio::test]
async fn the_same_input_is_asked_once_and_a_changed_one_again() {
    for kind in BOTH {
        let mut server = Modelled::start(kind, ["first", "second", "third"].map(titled), &[]).await;
        let reply = server.get("1").await;
        let section = report(&reply, Section::AiAnalysis);
        assert_eq!((section.state(), section.generator()), (State::Ok, Generator::Model));
        assert_eq!(section.detail, "127.0.0.1 fake-1");
        assert!(complete(&reply));
        let analysis = results(&reply);
        assert_eq!((title(&reply), analysis.model.as_deref()), ("first", Some("fake-1-mini")));
        assert_eq!((analysis.strategy_id, analysis.request_hash.as_ref().map(String::len)), (Some(12), Some(64)));
        assert_eq!((analysis.prompt_tokens, analysis.completion_tokens), (Some(100), Some(20)));
        let (_, asked) = server.endpoint.newest_call();
        let input = asked["messages"][1]["content"].as_str().unwrap();
        for personal in ["cloudworks", "user_id", "2026-", "2025-"] {
            assert!(!input.to_lowercase().contains(personal), "{personal} in {input}");
        }

        let dated = analysis.analysis_date;
        server.invalidate("1").await;
        let reply = server.get("1").await;
        assert_eq!((title(&reply), results(&reply).analysis_date), ("first", dated), "{kind:?}: remembered");
        assert_eq!(server.endpoint.calls(), 1);

        execute(&server.db, "UPDATE enhanced_content_strategies SET content_frequency = 'hourly' WHERE id = 12").await;
        server.invalidate("1").await;
        assert_eq!(title(&server.get("1").await), "second", "{kind:?}: another input");
        assert_eq!((server.endpoint.calls(), server.remembered().await), (2, "2".to_owned()));

        assert_eq!(title(&refresh(&mut server.client, "1").await), "third", "{kind:?}: asked anew");
        server.invalidate("1").await;
        assert_eq!(title(&server.get("1").await), "third", "{kind:?}: and remembered in the old one's place");
        assert_eq!((server.endpoint.calls(), server.remembered().await), (3, "2".to_owned()));
        let stats = server.stats().await;
        assert_eq!((stats.ai_calls_made, stats.ai_calls_avoided), (3, 2), "{kind:?}");
        assert_eq!((stats.ai_prompt_tokens, stats.ai_completion_tokens), (300, 60), "{kind:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_costs_its_section_until_it_is_up() {
    // Each question is tried twice.
    let mut server = Modelled::start(Kind::Sqlite, [Say::Nothing, Say::Nothing, titled("up")], &[]).await;
    check_without(&server.get("1").await, "AI_UNREACHABLE");
    check_without(&server.get("1").await, "AI_UNREACHABLE");
    assert_eq!(server.endpoint.calls(), 2, "not asked again while the partial document lives");
    server.invalidate("1").await;
    let reply = server.get("1").await;
    assert!(complete(&reply));
    assert_eq!(title(&reply), "up");
}

#[tokio::test]
async fn an_active_user_does_not_pay_for_an_unusable_answer_at_each_completion() {
    let thoughts = Say::json(serde_json::json!({"choices": [{"message": {"content": "<think>what a question"}}]}));
    for kind in BOTH {
        let mut server = Modelled::start(kind, [thoughts.clone(), titled("usable")], &[]).await;
        for _ in 0..5 {
            check_without(&server.get("1").await, "AI_MALFORMED");
            // As at the end of the partial document's life, the section is read again.
            server.invalidate("1").await;
        }
        assert_eq!(server.endpoint.calls(), 1, "{kind:?}");
        let stats = server.stats().await;
        assert_eq!((stats.ai_calls_made, stats.ai_calls_avoided), (1, 0), "{kind:?}");
        let (_, scraped) = server.server.probe("/metrics").await;
        for line in [
            r#"userdata_ai_calls_total{outcome="ok"} 0"#,
            r#"userdata_ai_calls_total{outcome="invalid"} 1"#,
            r#"userdata_ai_calls_total{outcome="error"} 0"#,
            r#"userdata_ai_avoided_total{outcome="invalid"} 4"#,
        ] {
            assert!(scraped.contains(line), "{kind:?}: {line} in {scraped}");
        }
        assert_eq!(title(&refresh(&mut server.client, "1").await), "usable", "{kind:?}: a refresh asks");
        server.invalidate("1").await;
        assert_eq!(title(&server.get("1").await), "usable", "{kind:?}: and its answer is remembered");
        assert_eq!((server.endpoint.calls(), server.remembered().await), (2, "1".to_owned()), "{kind:?}");
    }
}

#[tokio::test]
async fn an_answer_after_the_soft_timeout_is_there_for_the_next_request() {
    let environment = [("USERDATA__AI__SOFT_TIMEOUT", "200ms"), ("USERDATA__LOADS__PARTIAL_TTL", "100ms")];
    let mut server = Modelled::start(Kind::Sqlite, [titled("late")], &environment).await;
    server.endpoint.hold();
    check_without(&server.get("1").await, "AI_TIMEOUT");
    server.endpoint.called(1).await;
    server.endpoint.release();
    // No invalidation: the partial document's life ends.
    let client = server.client.clone();
    let reply = wait_for("the answer", async || {
        let reply = get(&mut client.clone(), "1").await;
        complete(&reply).then_some(reply)
    })
    .await;
    assert_eq!(title(&reply), "late");
    assert_eq!((server.endpoint.calls(), server.remembered().await), (1, "1".to_owned()));
    let ai = server.stats().await.sources.into_iter().find(|source| source.source == "ai_analysis").unwrap();
    assert_eq!((ai.runs, ai.failures, &ai.breaker_state[..]), (1, 0, "closed"), "a slow answer is no failure");
}

#[tokio::test]
async fn a_document_that_was_not_waited_for_says_when_to_assemble_it_again() {
    let endpoint = FakeAi::saying([titled("late")]).await;
    let (_place, db) = seeded_today(Kind::Sqlite).await;
    let model = config::AiSettings {
        base_url: Some(endpoint.base_url()),
        model: "fake-1".to_owned(),
        ..config::AiSettings::default()
    };
    let aggregator = aggregator_asking(&db, &patient(), &model);
    let query = UserDataQuery::new(UserId::parse("1").unwrap(), None, Parameters::none());
    let assemble = async |budget| {
        let plan = Plan {
            sections: SectionSet::NONE.with(Section::AiAnalysis),
            as_of: noon(),
            refresh: false,
            budget,
            onboarding: None,
            ai_calls: None,
        };
        aggregator.aggregate(&query, &plan).await.unwrap()
    };
    endpoint.hold();
    // As if the other sources had used up the time.
    let hurried = assemble(Duration::ZERO).await;
    let facts = &hurried.parts[0].facts;
    assert_eq!((facts.section, facts.state, &facts.reason[..]), (Section::AiAnalysis, State::Failed, "AI_TIMEOUT"));
    let late = hurried.late.expect("the call goes on");
    endpoint.release();
    assert!(late.is_cached().await);
    let again = assemble(Duration::from_secs(60)).await;
    assert_eq!(again.parts[0].facts.state, State::Ok);
    assert!(again.late.is_none());
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test]
async fn an_endpoint_left_alone_keeps_nobody_from_what_is_remembered() {
    let environment = [("USERDATA__SOURCES__BREAKER_FAILURES", "2"), ("USERDATA__SOURCES__BREAKER_PAUSE", "10m")];
    let mut server = Modelled::start(Kind::Sqlite, [titled("kept"), Say::status(501)], &environment).await;
    assert_eq!(title(&server.get("1").await), "kept");
    for user in ["2", "3"] {
        check_without(&server.get(user).await, "AI_SERVER_ERROR");
    }
    check_without(&server.get("4").await, "BREAKER_OPEN");
    assert_eq!(server.endpoint.calls(), 3);
    server.invalidate("1").await;
    let reply = server.get("1").await;
    assert!(complete(&reply));
    assert_eq!(title(&reply), "kept");
}

#[tokio::test]
async fn a_call_that_never_ends_is_given_up() {
    let environment = [("USERDATA__AI__SOFT_TIMEOUT", "100ms"), ("USERDATA__AI__HARD_TIMEOUT", "400ms")];
    let mut server = Modelled::start(Kind::Sqlite, [titled("never")], &environment).await;
    server.endpoint.hold();
    check_without(&server.get("1").await, "AI_TIMEOUT");
    let client = server.client.clone();
    let ai = wait_for("the call to be given up", async || {
        let stats = client.clone().get_cache_stats(GetCacheStatsRequest::default()).await.unwrap().into_inner();
        stats.sources.into_iter().find(|source| source.source == "ai_analysis" && source.failures == 1)
    })
    .await;
    assert_eq!((&ai.last_error[..], ai.in_flight), ("AI_TIMEOUT", 0));
    assert_eq!(server.remembered().await, "0");
}

#[tokio::test]
async fn without_an_endpoint_the_rules_answer_and_are_not_remembered() {
    let (place, db) = seeded_today(Kind::Sqlite).await;
    let server = serve_from(&place, &[]).await;
    let reply = get(&mut server.client().await, "1").await;
    assert_eq!(report(&reply, Section::AiAnalysis).generator(), Generator::Rules);
    assert_eq!(results(&reply).request_hash, None);
    assert_eq!(scalar(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM ai_response_cache").await.unwrap(), "0");
}

#[tokio::test]
async fn an_open_circuit_to_the_database_is_not_waited_for_by_the_ai_response_cache_either() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let endpoint = FakeAi::saying([titled("asked each time")]).await;
    let cluster = cluster(Layout::PostgresBesidePostgres).await;
    for user in 1..=7 {
        cluster.sources.add_user(&user.to_string(), &[user]).await;
    }
    let settings = cluster.settings().with("ai.base_url", endpoint.base_url()).with("ai.model", "fake-1");
    let settings = settings.with("database.timeout", "2s").with("invalidation_log.renew_timeout", "50ms");
    let (settings, lines) = by_lines(settings).await;
    let server = serve(settings).await;
    let mut client = server.client().await;
    lines.database.as_ref().unwrap().set(Network::Blackhole);
    let mut took = Vec::new();
    for user in 1..=7 {
        let asked = Instant::now();
        assert_eq!(title(&get(&mut client, &user.to_string()).await), "asked each time");
        took.push(asked.elapsed());
    }
    eprintln!("cold calls while the cache's database is swallowed: {took:?}");
    assert!(took[5..].iter().all(|took| *took < TIMEOUT), "after three failures nobody waits: {took:?}");
}
