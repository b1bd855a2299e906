//! What belongs to users and callers, marked, and looked for wherever the service speaks: with everything traced, and
//! with every dependency failing in turn. It is in documents, which are theirs, and nowhere else.

use sea_orm::ConnectionTrait;
use serde_json::json;
use tonic::{Request, Response, Status};
use userdata::{
    grpc::middleware::auth::digest,
    proto::{
        Kind as ValueKind, Struct,
        v1::{
            GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse, InvalidateCacheRequest, Section, State,
        },
    },
};

use super::collector::{collector, hex};
use testkit::{
    ai::{FakeAi, Say, valid_answer},
    ask::of,
    cluster::{Layout, cluster},
    server::{Client, serve},
    sources::break_table,
    wait_for,
};

/// Part of everything that must not be told, and of nothing else.
const MARK: &str = "mkq7xz";

fn marked(what: &str) -> String {
    format!("{MARK}-{what}")
}

/// The forms in which bytes are written where they are not text.
fn forms() -> Vec<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
    let decimal: Vec<String> = MARK.bytes().map(|byte| byte.to_string()).collect();
    let mut forms = vec![MARK.to_owned(), hex(MARK.as_bytes()), decimal.join(", ")];
    // By where it begins, base64 writes the same bytes in three ways; the first and last letters depend on neighbours.
    for before in 0..3 {
        let encoded = BASE64_STANDARD_NO_PAD.encode([&vec![0; before][..], MARK.as_bytes()].concat());
        forms.push(encoded[(before * 8).div_ceil(6)..(before + MARK.len()) * 8 / 6].to_lowercase());
    }
    forms
}

/// The lines of a text in which a mark stands in any form.
fn told(text: &str) -> Vec<&str> {
    let forms = forms();
    text.lines().filter(|line| forms.iter().any(|form| line.to_lowercase().contains(form))).collect()
}

/// A caller who sends marks wherever a caller can.
struct Caller {
    client: Client,
    token: String,
    /// What the caller was told of failures.
    heard: String,
}

impl Caller {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let headers = request.metadata_mut();
        let mut say = |name: &'static str, value: String| headers.insert(name, value.parse().unwrap());
        say("authorization", format!("Bearer {}", self.token));
        say("cookie", marked("cookie"));
        say("x-forwarded-for", marked("address"));
        say("baggage", format!("user={}", marked("baggage")));
        say("tracestate", format!("vendor={}", marked("state")));
        say("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
        request
    }

    fn hear<T>(&mut self, answer: Result<Response<T>, Status>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                self.heard += &format!("{status:?} {}\n", String::from_utf8_lossy(status.details()));
                None
            }
        }
    }

    async fn get(&mut self, message: GetComprehensiveUserDataRequest) -> Option<GetComprehensiveUserDataResponse> {
        let answer = self.client.clone().get_comprehensive_user_data(self.request(message)).await;
        if let Ok(answer) = &answer {
            self.heard += &format!("{:?}\n", answer.metadata());
            self.heard += &format!("{:?} {:?}\n", answer.get_ref().cache_info, answer.get_ref().sections);
        }
        self.hear(answer)
    }

    async fn invalidate(&mut self, user: &str, reason: &str) {
        let message = InvalidateCacheRequest {
            user_id: user.to_owned(),
            reason: reason.to_owned(),
            purge: true,
            ..Default::default()
        };
        let answer = self.client.clone().invalidate_cache(self.request(message)).await;
        self.hear(answer);
    }
}

fn state_of(answer: &GetComprehensiveUserDataResponse, section: Section) -> State {
    answer.sections.iter().find(|report| report.section() == section).unwrap().state()
}

#[test]
fn the_search_finds_a_mark_in_each_form() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    for around in ["", "a", "ab", "abc"] {
        let text = format!("{around}{MARK}{around}");
        for written in [
            text.clone(),
            text.to_uppercase(),
            hex(text.as_bytes()),
            format!("{:?}", text.as_bytes()),
            BASE64_STANDARD.encode(&text),
        ] {
            assert_eq!(told(&format!("a line\n{written}\nanother")), [written.as_str()], "{around}");
        }
    }
    assert_eq!(told("mk q7 xz"), [""; 0]);
}

#[tokio::test]
async fn nothing_of_users_callers_and_secrets_is_told_anywhere() {
    let user = marked("user");
    let cluster = cluster(Layout::Postgres).await.with_redis().await;
    cluster.sources.add_user(&user, &[11]).await;
    let run = async |sql: String| cluster.sources.db.execute_unprepared(&sql).await.unwrap();
    run(format!("UPDATE enhanced_content_strategies SET name = '{}'", marked("strategy"))).await;
    run(format!(
        "INSERT INTO website_analyses (id, session_id, website_url, seo_audit, brand_analysis) \
         SELECT 1, id, 'https://{}.test', '{{\"note\": \"{}\"}}', '{{\"brand_values\": [\"{}\"]}}' FROM onboarding_sessions",
        marked("site"),
        marked("audit"),
        marked("brand")
    ))
    .await;

    let mut answer = valid_answer();
    answer["content_recommendations"][0]["title"] = marked("title").into();
    let mut invalid = answer.clone();
    invalid["risk_assessment"][0]["severity"] = marked("severity").into();
    invalid[marked("member")] = json!(1);
    let completion = |message: serde_json::Value| {
        Say::json(json!({"model": "m", "choices": [{"finish_reason": "stop", "message": message}]}))
    };
    let replies = [
        Say::answer(&answer),
        Say::answer(&invalid),
        completion(json!({"content": format!("no JSON: {}", marked("prose"))})),
        completion(json!({"content": null, "refusal": marked("refusal")})),
        Say::Http(400, "x-marked: mkq7xz-header\r\n", format!("bad key {}", marked("echo")).into_bytes()),
        Say::Http(200, "", format!("<html>{}", marked("page")).into_bytes()),
        Say::Nothing,
    ];
    let failures = replies.len() - 1;
    let endpoint = FakeAi::saying(replies).await;

    let files = tempfile::tempdir().unwrap();
    let (token, tokens) = (marked("token"), files.path().join("tokens"));
    std::fs::write(&tokens, format!("writer {} a-writer\n", hex(&digest(&token)))).unwrap();
    let collector = collector().await;
    let redis = cluster.redis.as_ref().unwrap();
    // PostgreSQL trusts every user and Redis's user has no password: any password opens them.
    let database_url = cluster.database().url.replace("postgres@", &format!("postgres:{}@", marked("database")));
    assert_ne!(database_url, cluster.database().url);
    let settings = cluster
        .settings()
        .with("database.url", database_url)
        .with("redis.url", format!("redis://default:{}@127.0.0.1:{}", marked("redis"), redis.port))
        .with("auth.mode", "token")
        .with("auth.tokens_file", tokens.display())
        .with("ai.base_url", endpoint.base_url())
        .with("ai.model", "m")
        .with("ai.api_key", marked("key"))
        // Every request looks into the other tiers.
        .with("memory.ttl", "1ms")
        .with("log.format", "json")
        .with("log.filter", "trace");
    let mut server = serve(collector.told_by(settings)).await;
    let mut caller = Caller { client: server.client().await, token, heard: String::new() };

    // As it should be, from the sources and from what was stored.
    let value = ValueKind::StringValue(marked("value")).into();
    let parameters = Struct { fields: [(marked("name"), value)].into() };
    let asking = GetComprehensiveUserDataRequest { parameters: Some(parameters), ..of(&user) };
    let whole = caller.get(asking.clone()).await.expect("a document");
    for (what, text) in [("strategy", format!("{:?}", whole.data)), ("title", format!("{:?}", whole.data))] {
        assert!(text.contains(&marked(what)), "the document holds {what}: {text}");
    }
    assert_eq!(state_of(&whole, Section::AiAnalysis), State::Ok);
    cluster.has_stored(1).await;
    caller.get(asking.clone()).await.expect("a document");

    // Asked wrongly.
    caller.get(of(&marked("nobody"))).await;
    caller.get(of(&format!("{}\n", marked("line")))).await;
    caller.get(GetComprehensiveUserDataRequest { min_token: marked("min-token"), ..of(&user) }).await;
    let nan = Struct { fields: [(marked("nan"), ValueKind::NumberValue(f64::NAN).into())].into() };
    caller.get(GetComprehensiveUserDataRequest { parameters: Some(nan), ..of(&user) }).await;
    let known = std::mem::replace(&mut caller.token, marked("guessed"));
    caller.get(of(&user)).await;
    caller.token = known;

    // A model that answers badly, in each way.
    for _ in 0..failures {
        // Something that the model is asked about has changed, or the AI response cache would know the answer.
        run("UPDATE website_analyses SET brand_analysis = ('{\"brand_values\": [\"' || md5(random()::text) || '\"]}')::json"
            .to_owned())
        .await;
        caller.invalidate(&user, &marked("reason")).await;
        let partial = caller.get(asking.clone()).await.expect("a document without the section");
        assert_eq!(state_of(&partial, Section::AiAnalysis), State::Failed, "{:?}", partial.sections);
    }

    // What is stored is not what was stored.
    let (keys, record) = wait_for("the last document in Redis", async || {
        let keys = redis.reply("KEYS *").await.unwrap();
        let is_record = |key: &&str| key.starts_with("comprehensive_user_data:{") && key.matches(':').count() == 2;
        let record = keys.lines().find(is_record)?.to_owned();
        Some((keys, record))
    })
    .await;
    redis.command(&format!("SET {record} {}", marked("garbage"))).await;
    caller.get(asking.clone()).await;
    // Sources that fail, with the user's own values in the statement.
    break_table(&cluster.sources.db, "content_recommendations").await;
    caller.invalidate(&user, &marked("reason")).await;
    caller.get(asking.clone()).await;
    break_table(&cluster.sources.db, "onboarding_sessions").await;
    caller.invalidate(&user, &marked("reason")).await;
    caller.get(asking).await;
    assert!(caller.heard.contains("SOURCE_FAILED") && caller.heard.contains("UNAUTHENTICATED"), "{}", caller.heard);

    let (_, metrics) = server.probe("/metrics").await;
    wait_for("spans", async || (!collector.everything().is_empty()).then_some(())).await;
    server.signal("TERM");
    assert_eq!(server.exit_code().await, 0);
    let (log, sent) = (server.log(), collector.everything());
    assert!(log.contains("\"level\":\"TRACE\"") && sent.contains("source ai_analysis"), "everything is traced");

    // What tracing systems tell each other about a trace is carried along with it (W3C Trace Context).
    let state = format!("vendor={}", marked("state"));
    assert!(sent.contains(&state));
    let sent = sent.replace(&state, "");
    // The reason of an invalidation is for the log: that it is found shows that the search finds.
    let (audit, others): (Vec<_>, Vec<_>) =
        told(&log).into_iter().partition(|line| line.contains("\"invalidated\"") && line.contains(&marked("reason")));
    assert_eq!(audit.len(), failures + 2, "{audit:#?}");
    let without_reasons: Vec<String> = audit.iter().map(|line| line.replace(&marked("reason"), "")).collect();
    assert_eq!(told(&without_reasons.join("\n")), [""; 0]);
    for (place, found) in [
        ("the log", others),
        ("metrics", told(&metrics)),
        ("what was sent to the collector", told(&sent)),
        ("what callers are told beside documents", told(&caller.heard)),
        ("Redis's keys", told(&keys)),
    ] {
        let shown: Vec<String> = found.iter().map(|line| line.chars().take(600).collect()).collect();
        assert!(shown.is_empty(), "{place}: {} lines: {shown:#?}", shown.len());
    }
}
