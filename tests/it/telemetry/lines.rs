//! The log's lines name the request and the trace that they are about, and say a thing once.

use serde_json::Value;
use tonic::{Code, Request};

use testkit::{
    ask::{everything_of, of},
    cluster::{Layout, cluster},
    server::serve,
    sources::break_table,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn with_ids<T>(message: T, request_id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    // Not sampled: what is logged does not depend on that.
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-00").parse().unwrap());
    request
}

#[tokio::test]
async fn a_line_about_a_request_names_it_and_its_trace_and_is_the_only_one() {
    let cluster = cluster(Layout::Sqlite).await;
    cluster.sources.add_user("1", &[11]).await;
    let server = serve(cluster.settings().with("log.format", "json")).await;
    let mut client = server.client().await;
    client.invalidate_cache(with_ids(everything_of("1"), "an-invalidation")).await.unwrap();
    break_table(&cluster.sources.db, "onboarding_sessions").await;
    let failed = client.get_comprehensive_user_data(with_ids(of("1"), "a-get")).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);

    let log = server.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (message, request_id) in [("invalidated", "an-invalidation"), ("unavailable", "a-get")] {
        let said: Vec<&Value> = lines.iter().filter(|line| line["message"] == message).collect();
        let [line] = said[..] else { panic!("{} lines say {message}: {log}", said.len()) };
        let spans = line["spans"].as_array().unwrap();
        let request = spans.iter().find(|span| span["name"] == "request").expect("the request's span");
        assert_eq!((request["request.id"].as_str(), request["trace_id"].as_str()), (Some(request_id), Some(TRACE)));
    }
}
