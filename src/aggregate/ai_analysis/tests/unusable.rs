//! A response that cannot be used is not paid for again at each completion of the document.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn thoughts() -> Say {
    Say::json(json!({"choices": [{"message": {"content": "<think>what a question"}}]}))
}

#[tokio::test]
async fn an_active_user_costs_one_call_a_day_in_the_end() {
    let setup = Setup::new([thoughts()]).await;
    let mut calls = Vec::new();
    // Three days of completions, two a minute.
    for _ in 0..3 * 24 * 120 {
        assert_eq!(setup.reason().await, "AI_MALFORMED");
        calls.push(setup.endpoint.calls());
        setup.clock.advance(MINUTE / 2);
    }
    let after = |hours: usize| calls[hours * 120 - 1];
    // At 0, 1, 3, 7, .. 1023 minutes, then daily.
    assert_eq!([after(1), after(24), after(48), after(72)], [6, 11, 12, 13]);
    let metrics = setup.source.metrics();
    let paused = u64::try_from(calls.len()).unwrap() - 13;
    assert_eq!((metrics.unusable, metrics.paused, metrics.failed, metrics.answered), (13, paused, 0, 0));
}

#[tokio::test]
async fn the_pause_is_one_for_all_instances_and_an_answer_ends_it() {
    let setup = Setup::new([thoughts(), titled("at last"), thoughts(), titled("again")]).await;
    let other = setup.beside(|_| {});
    assert_eq!(setup.reason().await, "AI_MALFORMED");
    assert_eq!(other.reason().await, "AI_MALFORMED");
    assert_eq!(setup.endpoint.calls(), 1);
    setup.clock.advance(MINUTE);
    assert_eq!(title(&setup.analyse().await.unwrap()), "at last");
    assert_eq!(title(&other.analyse().await.unwrap()), "at last", "the row holds the answer now");
    assert_eq!((setup.endpoint.calls(), setup.remembered().await), (2, 1));
}

#[tokio::test]
async fn a_refresh_asks_during_the_pause_and_an_unusable_response_replaces_no_answer() {
    let setup = Setup::new([thoughts(), titled("kept"), thoughts()]).await;
    let refresh = async || setup.source.analyse(AnalysisRequest { refresh: true, ..setup.request() }).await;
    assert_eq!(setup.reason().await, "AI_MALFORMED");
    assert_eq!(title(&refresh().await.unwrap().results.unwrap()), "kept");
    assert_eq!(refresh().await.unwrap_err().error.reason(), "AI_MALFORMED");
    assert_eq!(title(&setup.analyse().await.unwrap()), "kept");
    assert_eq!((setup.endpoint.calls(), setup.remembered().await), (3, 1));
}

#[tokio::test]
async fn a_refused_request_is_made_again_after_ten_minutes_at_most() {
    let setup = Setup::new([Say::status(400)]).await;
    for _ in 0..24 * 60 {
        assert_eq!(setup.reason().await, "AI_REJECTED");
        setup.clock.advance(MINUTE);
    }
    // At 0, 1, 3, 7 and 15 minutes, then every ten.
    assert_eq!(setup.endpoint.calls(), 5 + (24 * 60 - 16) / 10);
    assert_eq!(setup.source.metrics().unusable, 0, "it is an error, and counted as one");
}

#[tokio::test]
async fn another_way_of_asking_is_asked_at_once() {
    let setup = Setup::new([Say::status(400), titled("accepted")]).await;
    assert_eq!(setup.reason().await, "AI_REJECTED");
    let adapted = setup.beside(|config| config.temperature = None);
    assert_eq!(title(&adapted.analyse().await.unwrap()), "accepted");
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_end_the_calls() {
    let setup = Setup::new([thoughts()]).await;
    assert_eq!(setup.reason().await, "AI_MALFORMED");
    setup.sql("UPDATE ai_response_cache SET created_at = '2999-01-01 00:00:00'").await;
    assert_eq!(setup.reason().await, "AI_MALFORMED");
    assert_eq!(setup.endpoint.calls(), 2);
}

#[tokio::test]
async fn nothing_is_noted_of_a_user_who_is_erased_meanwhile() {
    let setup = Setup::with([thoughts()], |config| config.soft_timeout = Duration::from_millis(100)).await;
    setup.endpoint.hold();
    assert_eq!(setup.reason().await, "AI_TIMEOUT");
    setup.source.forget(&setup.user).await;
    setup.endpoint.release();
    setup.idle().await;
    assert_eq!(setup.remembered().await, 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_takes_the_pause_of_a_response_that_cannot_be_used() {
    let setup = Setup::new([titled("a"), thoughts()]).await;
    setup.analyse().await.unwrap();
    for odd in ["response = '{\"unknown\": 1}', model = 'm'", "model = x'ff'", "created_at = '294000-01-01'"] {
        setup.sql(&format!("UPDATE ai_response_cache SET {odd}")).await;
        let before = setup.endpoint.calls();
        for _ in 0..3 {
            assert_eq!(setup.reason().await, "AI_MALFORMED", "{odd}");
        }
        assert_eq!(setup.endpoint.calls() - before, 1, "{odd}: the others wait for the pause to end");
        setup.clock.advance(MINUTE);
    }
}
