//! The source as a whole, against an endpoint on loopback and a response cache in SQLite.

mod forms;
mod late;
mod once;
mod request;
mod response_cache;
mod unusable;

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use serde_json::{Value as Json, json};
use servers::ai::{FakeAi, Say, valid_answer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use userdata_migrations::Tables;

use super::{
    fixture::{onboarding, plain_strategy},
    *,
};
use crate::config::{AiSettings, LoadLeaseSettings, Secret, Structured};

/// Reasons of which the next call would cost as much and bring as little.
const UNUSABLE: [&str; 6] = ["AI_TOO_LARGE", "AI_TRUNCATED", "AI_REFUSED", "AI_MALFORMED", "AI_INVALID", "AI_REJECTED"];
/// For an assembly whose time is not the matter.
const NO_LIMIT: Duration = Duration::from_secs(60);

/// A source, its endpoint and its response cache.
struct Setup {
    endpoint: Arc<FakeAi>,
    source: AiAnalysis,
    connection: DatabaseConnection,
    clock: Clock,
    tracker: TaskTracker,
    stop: CancellationToken,
    strategy: Strategy,
    onboarding: Onboarding,
    user: UserId,
}

impl Setup {
    async fn new(replies: impl IntoIterator<Item = Say>) -> Self {
        Self::with(replies, |_| {}).await
    }

    async fn with(replies: impl IntoIterator<Item = Say>, configure: impl FnOnce(&mut AiSettings)) -> Self {
        Self::on(Arc::new(FakeAi::saying(replies).await), memory_database().await, configure)
    }

    /// Another instance on the same database.
    fn beside(&self, configure: impl FnOnce(&mut AiSettings)) -> Self {
        Self::on(Arc::clone(&self.endpoint), self.connection.clone(), configure)
    }

    fn on(endpoint: Arc<FakeAi>, connection: DatabaseConnection, configure: impl FnOnce(&mut AiSettings)) -> Self {
        let mut config =
            AiSettings { base_url: Some(endpoint.base_url()), model: "fake-1".to_owned(), ..AiSettings::default() };
        configure(&mut config);
        let clock = Clock::system();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let responses = ResponseCache::new(connection.clone().into());
        let leases = leases(&connection, &clock, &stop);
        let source =
            AiAnalysis::new(&config, guard(&clock), responses, leases, clock.clone(), tracker.clone()).unwrap();
        Self {
            endpoint,
            source,
            connection,
            clock,
            tracker,
            stop,
            strategy: plain_strategy(),
            onboarding: onboarding("website_analysis"),
            user: UserId::parse("1").unwrap(),
        }
    }

    fn request(&self) -> AnalysisRequest<'_> {
        AnalysisRequest {
            user: &self.user,
            as_of: DateTime::UNIX_EPOCH,
            onboarding: &self.onboarding,
            strategy: Some(&self.strategy),
            refresh: false,
            until: Instant::now() + NO_LIMIT,
            calls: None,
        }
    }

    /// How its model is asked.
    fn asking(&self) -> input::Asking<'_> {
        self.source.model.as_ref().unwrap().asking()
    }

    async fn analyse(&self) -> Result<AiAnalysisResults, Unanswered> {
        self.source.analyse(self.request()).await.map(|analysis| analysis.results.unwrap())
    }

    async fn reason(&self) -> &'static str {
        self.analyse().await.unwrap_err().error.reason()
    }

    /// Asks until the soft timeout, or a moment; the call goes on.
    async fn late(&self, request: AnalysisRequest<'_>) -> Late {
        let unanswered = self.source.analyse(request).await.unwrap_err();
        assert_eq!(unanswered.error.reason(), "AI_TIMEOUT");
        unanswered.late.expect("the call goes on")
    }

    async fn sql(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap();
    }

    async fn remembered(&self) -> usize {
        self.rows("SELECT request_hash FROM ai_response_cache").await
    }

    async fn rows(&self, sql: &str) -> usize {
        let statement = sea_orm::Statement::from_string(self.connection.get_database_backend(), sql);
        self.connection.query_all_raw(statement).await.unwrap().len()
    }

    /// Waits until every call has ended.
    async fn idle(&self) {
        self.tracker.close();
        timeout(Duration::from_secs(10), self.tracker.wait()).await.unwrap();
        self.tracker.reopen();
    }
}

fn guard(clock: &Clock) -> Guard {
    let limits = crate::config::SourcesSettings { breaker_failures: 3, ..crate::config::SourcesSettings::default() };
    Guard::new("ai_analysis", &limits, clock.clone())
}

/// Tasks of its own: a lease may outlive its call by as long as a failure is told.
fn leases(connection: &DatabaseConnection, clock: &Clock, stop: &CancellationToken) -> Arc<Leases> {
    let config = LoadLeaseSettings { poll: Duration::from_millis(5), ..LoadLeaseSettings::default() };
    Arc::new(Leases::new(connection.clone().into(), &config, NO_LIMIT, clock.clone(), TaskTracker::new(), stop.clone()))
}

/// A database that is gone with its only connection.
async fn memory_database() -> DatabaseConnection {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.min_connections(1).max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.unwrap();
    userdata_migrations::up(&connection, Tables::Cache).await.unwrap();
    connection
}

fn titled(title: &str) -> Say {
    let mut answer = valid_answer();
    answer["content_recommendations"][0]["title"] = title.into();
    Say::answer(&answer)
}

fn title(results: &AiAnalysisResults) -> &str {
    &results.content_recommendations[0].title
}

#[tokio::test]
async fn without_an_endpoint_the_rules_answer() {
    let connection = memory_database().await;
    let clock = Clock::system();
    let (responses, leases) =
        (ResponseCache::new(connection.clone().into()), leases(&connection, &clock, &CancellationToken::new()));
    let source =
        AiAnalysis::new(&AiSettings::default(), guard(&clock), responses, leases, clock, TaskTracker::new()).unwrap();
    let (onboarding, strategy) = (onboarding("website_analysis"), plain_strategy());
    let user = UserId::parse("1").unwrap();
    let as_of = DateTime::from_timestamp(1_756_684_800, 0).unwrap();
    let until = Instant::now() + NO_LIMIT;
    let request = AnalysisRequest {
        user: &user,
        as_of,
        onboarding: &onboarding,
        strategy: Some(&strategy),
        refresh: false,
        until,
        calls: None,
    };
    let analysis = source.analyse(request).await.unwrap();
    let results = analysis.results.unwrap();
    assert_eq!((analysis.generator, results.generator()), (Generator::Rules, Generator::Rules));
    assert_eq!(results.analysis_date, Some(as_of.into()));
    assert_eq!((results.strategy_kind(), results.strategy_id), (StrategyKind::Legacy, Some(7)));
    assert_eq!((results.model, results.request_hash), (None, None));
    assert_eq!(source.metrics(), AiMetrics::default());

    let nothing =
        source.analyse(AnalysisRequest { onboarding: &Onboarding::default(), strategy: None, ..request }).await;
    let results = nothing.unwrap().results.unwrap();
    assert_eq!((results.strategy_kind(), results.strategy_id), (StrategyKind::Unspecified, None));
}

#[tokio::test]
async fn a_valid_answer_is_shown_with_its_origin() {
    let setup = Setup::with([titled("Begin")], |config| config.api_key = Some(Secret::new("the-key"))).await;
    let analysis = setup.source.analyse(setup.request()).await.unwrap();
    assert_eq!(analysis.generator, Generator::Model);
    assert_eq!(analysis.detail, "127.0.0.1 fake-1");
    let results = analysis.results.unwrap();
    assert_eq!(title(&results), "Begin");
    assert_eq!(results.generator(), Generator::Model);
    assert_eq!((results.strategy_kind(), results.strategy_id), (StrategyKind::Legacy, Some(7)));
    assert_eq!(results.model.as_deref(), Some("fake-1-mini"));
    assert_eq!(results.prompt_version.as_deref(), Some(prompt::PROMPT_VERSION));
    assert_eq!((results.prompt_tokens, results.completion_tokens), (Some(100), Some(20)));
    assert_eq!(results.request_hash.as_ref().map(String::len), Some(64));
    assert!(results.analysis_date.is_some());
    assert_eq!(
        setup.source.metrics(),
        AiMetrics { calls: 1, answered: 1, prompt_tokens: 100, completion_tokens: 20, ..AiMetrics::default() }
    );

    let (head, body) = setup.endpoint.newest_call();
    assert!(head.starts_with("post /v1/chat/completions "), "{head}");
    assert!(head.contains("authorization: bearer the-key"), "{head}");
    assert_eq!(
        (&body["model"], &body["temperature"], &body["max_tokens"]),
        (&json!("fake-1"), &json!(0.2), &json!(4096))
    );
    assert_eq!(body["messages"][0], json!({"role": "system", "content": include_str!("prompt.txt")}));
    let input: Json = serde_json::from_str(body["messages"][1]["content"].as_str().unwrap()).unwrap();
    assert_eq!(input["industry"], "technology");
    assert_eq!(body["response_format"]["json_schema"]["name"], "strategic_intelligence");
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    let schema = &body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"].as_array().unwrap().len(), 6);
    assert_eq!(schema["properties"]["risk_assessment"]["items"]["properties"]["severity"]["enum"][0], "high");
}

#[tokio::test]
async fn an_endpoint_without_schemas_is_told_in_the_prompt() {
    let setup = Setup::with([titled("a")], |config| config.structured = Structured::JsonObject).await;
    setup.analyse().await.unwrap();
    let (head, body) = setup.endpoint.newest_call();
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(body["response_format"], json!({"type": "json_object"}));
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("\"additionalProperties\":false"));
}

#[tokio::test]
async fn each_failure_has_its_reason_and_is_remembered_if_a_second_call_would_cost_the_same() {
    let refusal = json!({"choices": [{"finish_reason": "stop", "message": {"content": null, "refusal": "no"}}]});
    let nested = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let body = |body: Vec<u8>| Say::Http(200, "", body);
    for (say, expected, calls) in [
        (Say::answer_finished(&valid_answer(), "length"), "AI_TRUNCATED", 1),
        (Say::answer_finished(&valid_answer(), "content_filter"), "AI_REFUSED", 1),
        (Say::json(refusal), "AI_REFUSED", 1),
        (Say::status(401), "AI_UNAUTHORIZED", 1),
        (Say::status(403), "AI_UNAUTHORIZED", 1),
        (Say::status(400), "AI_REJECTED", 1),
        (Say::Http(302, "location: http://127.0.0.1:1/\r\n", Vec::new()), "AI_REJECTED", 1),
        (Say::status(501), "AI_SERVER_ERROR", 1),
        (Say::status(500), "AI_SERVER_ERROR", 2),
        (Say::status(503), "AI_SERVER_ERROR", 2),
        (Say::status(429), "AI_RATE_LIMITED", 2),
        (Say::Http(429, "retry-after: 6\r\n", Vec::new()), "AI_RATE_LIMITED", 1),
        (Say::Nothing, "AI_UNREACHABLE", 2),
        (body(vec![b' '; 1024 * 1024 + 1]), "AI_TOO_LARGE", 1),
        (body(b"<html>".to_vec()), "AI_MALFORMED", 1),
        (body(nested.into_bytes()), "AI_MALFORMED", 1),
        (Say::json(json!({"choices": []})), "AI_MALFORMED", 1),
        (Say::answer(&json!("no object")), "AI_INVALID", 1),
        (Say::answer(&json!({})), "AI_INVALID", 1),
    ] {
        let what = format!("{expected} {calls}");
        let setup = Setup::new([say]).await;
        assert_eq!(setup.reason().await, expected, "{what}");
        assert_eq!(setup.endpoint.calls(), calls, "{what}");
        let is_remembered = UNUSABLE.contains(&expected);
        assert_eq!(setup.remembered().await, usize::from(is_remembered), "{what}");
        assert_eq!(setup.reason().await, expected, "{what}");
        assert_eq!(setup.endpoint.calls(), if is_remembered { calls } else { 2 * calls }, "{what}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let setup = Setup::with([titled("a")], |config| config.base_url = Some("http://127.0.0.1:1".to_owned())).await;
    assert_eq!(setup.reason().await, "AI_UNREACHABLE");
    assert_eq!(setup.source.metrics().calls, 2);
}

#[tokio::test]
async fn a_second_try_succeeds_after_the_pause_that_was_asked_for() {
    let setup = Setup::new([Say::Http(429, "retry-after: 1\r\n", Vec::new()), titled("second")]).await;
    let begun = Instant::now();
    assert_eq!(title(&setup.analyse().await.unwrap()), "second");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(setup.source.metrics().calls, 2);
}

#[tokio::test]
async fn there_is_no_second_try_without_time_for_it() {
    let late = |config: &mut AiSettings| config.hard_timeout = Duration::from_secs(2);
    let setup = Setup::with([Say::Http(503, "retry-after: 5\r\n", Vec::new()), titled("a")], late).await;
    assert_eq!(setup.reason().await, "AI_SERVER_ERROR");
    assert_eq!(setup.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_slow_call_is_answered_without_and_remembered_afterwards() {
    let setup = Setup::with([titled("slow")], |config| config.soft_timeout = Duration::from_millis(100)).await;
    setup.endpoint.hold();
    assert_eq!(setup.reason().await, "AI_TIMEOUT");
    assert_eq!(setup.reason().await, "AI_TIMEOUT", "joins the call under way");
    setup.endpoint.release();
    setup.idle().await;
    assert_eq!(setup.remembered().await, 1);
    assert_eq!(title(&setup.analyse().await.unwrap()), "slow");
    assert_eq!(setup.endpoint.calls(), 1);
    assert_eq!(setup.source.metrics().avoided, 1);
}

#[tokio::test]
async fn the_hard_timeout_ends_a_call() {
    let setup = Setup::with([titled("never")], |config| config.hard_timeout = Duration::from_millis(100)).await;
    setup.endpoint.hold();
    assert_eq!(setup.reason().await, "AI_TIMEOUT");
    setup.idle().await;
    assert_eq!(setup.remembered().await, 0);
}

#[tokio::test]
async fn the_same_input_costs_one_call_and_a_changed_one_another() {
    let mut setup = Setup::new([titled("first"), titled("second")]).await;
    let first = setup.analyse().await.unwrap();
    setup.clock.advance(Duration::from_secs(3600));
    setup.user = UserId::parse("another").unwrap();
    assert_eq!(setup.analyse().await.unwrap(), first, "also for another user, and with the first one's date");
    setup.strategy.row["updated_at"] = json!(setup.clock.utc());
    assert_eq!(setup.analyse().await.unwrap(), first, "no change in meaning");
    assert_eq!(setup.endpoint.calls(), 1);
    assert_eq!(setup.source.metrics().avoided, 2);

    setup.strategy.row["industry"] = "finance".into();
    assert_eq!(title(&setup.analyse().await.unwrap()), "second");
    assert_eq!(setup.endpoint.calls(), 2);
    assert_eq!(setup.remembered().await, 2);
}

#[tokio::test]
async fn concurrent_identical_inputs_cost_one_call() {
    let setup = Setup::new([titled("one"), titled("two")]).await;
    setup.endpoint.hold();
    let waiting = futures::future::join_all((0..100).map(|_| setup.analyse()));
    let released = async {
        setup.endpoint.called(1).await;
        setup.endpoint.release();
    };
    let (answers, ()) = tokio::join!(waiting, released);
    assert!(answers.into_iter().all(|answer| title(&answer.unwrap()) == "one"));
    assert_eq!(setup.endpoint.calls(), 1);
    let figures = AiMetrics {
        calls: 1,
        shared: 99,
        prompt_tokens: 100,
        completion_tokens: 20,
        answered: 1,
        ..AiMetrics::default()
    };
    assert_eq!(setup.source.metrics(), figures);
}

#[tokio::test]
async fn callers_that_leave_do_not_end_the_call() {
    let setup = Setup::new([titled("kept")]).await;
    setup.endpoint.hold();
    let left = timeout(Duration::from_millis(50), setup.analyse()).await;
    assert!(left.is_err());
    setup.endpoint.called(1).await;
    setup.endpoint.release();
    setup.idle().await;
    assert_eq!(setup.remembered().await, 1);
}

#[tokio::test]
async fn a_minute_has_so_many_calls() {
    let mut setup = Setup::with([titled("a")], |config| config.calls_per_minute = 1).await;
    setup.analyse().await.unwrap();
    setup.strategy.row["industry"] = "finance".into();
    assert_eq!(setup.reason().await, "AI_BUDGET");
    assert_eq!(setup.endpoint.calls(), 1);
    setup.clock.advance(Duration::from_secs(60));
    setup.analyse().await.unwrap();
    assert_eq!(setup.endpoint.calls(), 2);
}

#[tokio::test]
async fn a_second_try_is_a_call_too() {
    let setup = Setup::with([Say::status(503), titled("a")], |config| config.calls_per_minute = 1).await;
    assert_eq!(setup.reason().await, "AI_SERVER_ERROR");
    assert_eq!(setup.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_refresh_asks_again_and_overwrites() {
    let setup = Setup::new([titled("old"), titled("new")]).await;
    assert_eq!(title(&setup.analyse().await.unwrap()), "old");
    let refreshed = setup.source.analyse(AnalysisRequest { refresh: true, ..setup.request() }).await.unwrap();
    assert_eq!(title(&refreshed.results.unwrap()), "new");
    assert_eq!(title(&setup.analyse().await.unwrap()), "new");
    assert_eq!(setup.endpoint.calls(), 2);
    assert_eq!(setup.remembered().await, 1);
}

#[tokio::test]
async fn nothing_to_ask_about_costs_no_call() {
    let mut setup = Setup::new([titled("a")]).await;
    setup.onboarding = Onboarding::default();
    let analysis = setup.source.analyse(AnalysisRequest { strategy: None, ..setup.request() }).await.unwrap();
    assert_eq!((analysis.results, analysis.generator), (None, Generator::Model));
    assert_eq!(setup.endpoint.calls(), 0);
}
