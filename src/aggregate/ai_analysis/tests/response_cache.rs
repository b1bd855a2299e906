//! What the response cache keeps, for whom and for how long, and what it costs when it fails.

use super::*;

#[tokio::test]
async fn the_first_answer_of_several_processes_is_everybodys() {
    let setup = Setup::new([titled("ours"), titled("ours again")]).await;
    setup.analyse().await.unwrap();
    let row = "UPDATE ai_response_cache SET request_hash = 'x', response = replace(response, 'ours', 'theirs')";
    setup.sql(row).await;
    // While our call is under way, another process remembers an answer under the same key.
    setup.endpoint.hold();
    let (ours, ()) = tokio::join!(setup.analyse(), async {
        setup.endpoint.called(2).await;
        let key =
            Input::new(&Subject::new(&setup.onboarding, Some(&setup.strategy))).unwrap().response_key(&setup.asking());
        setup.sql(&format!("UPDATE ai_response_cache SET request_hash = '{}'", key.as_str())).await;
        setup.endpoint.release();
    });
    assert_eq!(title(&ours.unwrap()), "theirs");
    assert_eq!(setup.remembered().await, 1);
}

#[tokio::test]
async fn another_way_of_asking_is_another_question() {
    let setup = Setup::new(["one", "two", "three", "four"].map(titled)).await;
    assert_eq!(title(&setup.analyse().await.unwrap()), "one");
    type ConfigChange = fn(&mut AiSettings);
    let otherwise: [(&str, ConfigChange); 4] = [
        ("two", |config| config.temperature = Some(0.3)),
        ("three", |config| config.max_output_tokens = 4095),
        ("four", |config| config.structured = Structured::JsonObject),
        // Neither is part of the question.
        ("one", |config| (config.soft_timeout, config.calls_per_minute) = (Duration::from_secs(7), 59)),
    ];
    for (expected, configure) in otherwise {
        assert_eq!(title(&setup.beside(configure).analyse().await.unwrap()), expected);
    }
    assert_eq!((setup.endpoint.calls(), setup.remembered().await), (4, 4));
}

#[tokio::test]
async fn an_endpoint_that_is_left_alone_keeps_nobody_from_what_is_remembered() {
    let mut setup = Setup::new([titled("kept"), Say::status(501)]).await;
    setup.analyse().await.unwrap();
    setup.strategy.row["industry"] = "finance".into();
    for _ in 0..3 {
        assert_eq!(setup.reason().await, "AI_SERVER_ERROR");
    }
    assert_eq!(setup.reason().await, "BREAKER_OPEN");
    assert_eq!(setup.endpoint.calls(), 4);

    setup.strategy = plain_strategy();
    assert_eq!(title(&setup.analyse().await.unwrap()), "kept");
    // What is remembered says nothing about the endpoint.
    assert_eq!(setup.source.guard().stats().breaker_state, "open");
}

#[tokio::test]
async fn slow_answers_that_come_are_no_failures() {
    let mut setup = Setup::with([titled("a")], |config| config.soft_timeout = Duration::from_millis(20)).await;
    setup.endpoint.hold();
    for n in 0..4 {
        setup.strategy.row["industry"] = format!("industry {n}").into();
        assert_eq!(setup.reason().await, "AI_TIMEOUT");
    }
    setup.endpoint.release();
    setup.idle().await;
    let stats = setup.source.guard().stats();
    assert_eq!((stats.runs, stats.failures, &stats.breaker_state[..]), (4, 0, "closed"));
    assert_eq!(setup.remembered().await, 4);
}

#[tokio::test]
async fn a_response_cache_that_fails_costs_a_call_and_no_answer() {
    let setup = Setup::new([titled("a")]).await;
    setup.sql("DROP TABLE ai_response_cache").await;
    setup.analyse().await.unwrap();
    setup.analyse().await.unwrap();
    assert_eq!(setup.endpoint.calls(), 2);
}

#[tokio::test]
async fn a_remembered_answer_that_cannot_be_read_is_replaced() {
    for odd in [
        "response = '{\"unknown\": 1}'",
        "response = x'ff'",
        "created_at = '294000-01-01'",
        "last_used_at = 'never'",
        "prompt_tokens = 'many'",
        "model = x'ff'",
    ] {
        let setup = Setup::new([titled("first"), titled("second")]).await;
        setup.analyse().await.unwrap();
        setup.sql(&format!("UPDATE ai_response_cache SET {odd}")).await;
        assert_eq!(title(&setup.analyse().await.unwrap()), "second", "{odd}");
        assert_eq!(title(&setup.analyse().await.unwrap()), "second", "{odd}");
        assert_eq!(setup.endpoint.calls(), 2, "{odd}");
    }
}

#[tokio::test]
async fn answers_that_nobody_uses_for_thirty_days_are_swept() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let setup = Setup::new([titled("a")]).await;
    let responses = ResponseCache::new(setup.connection.clone().into());
    setup.analyse().await.unwrap();
    setup.clock.advance(20 * DAY);
    setup.analyse().await.unwrap();
    setup.clock.advance(20 * DAY);
    assert_eq!(responses.sweep(setup.clock.utc(), 10).await.unwrap(), 0, "it was of use 20 days ago");
    setup.clock.advance(10 * DAY);
    assert_eq!(responses.sweep(setup.clock.utc(), 0).await.unwrap(), 0, "no more than asked for");
    assert_eq!(responses.sweep(setup.clock.utc(), 10).await.unwrap(), 1);
}

#[tokio::test]
async fn uses_are_written_once_a_day() {
    let setup = Setup::new([titled("a")]).await;
    setup.analyse().await.unwrap();
    setup.sql("CREATE TABLE writes (n INTEGER)").await;
    setup.sql("CREATE TRIGGER t AFTER UPDATE ON ai_response_cache BEGIN INSERT INTO writes VALUES (1); END").await;
    for hours in [1, 1, 22, 1] {
        setup.clock.advance(Duration::from_secs(hours * 3600));
        setup.analyse().await.unwrap();
    }
    assert_eq!(setup.rows("SELECT n FROM writes").await, 1);
}

#[tokio::test]
async fn a_call_under_way_when_its_user_is_erased_leaves_nothing_behind() {
    let mut setup = Setup::with([titled("a")], |config| config.soft_timeout = Duration::from_millis(100)).await;
    setup.endpoint.hold();
    assert_eq!(setup.reason().await, "AI_TIMEOUT");
    setup.source.forget(&setup.user).await;
    setup.endpoint.release();
    setup.idle().await;
    assert_eq!(setup.remembered().await, 0);

    setup.strategy.row["industry"] = "finance".into();
    setup.analyse().await.unwrap();
    assert_eq!(setup.remembered().await, 1, "what is asked afterwards is remembered");
}
