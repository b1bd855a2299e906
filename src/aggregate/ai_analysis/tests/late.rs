//! Answers that nobody waited for: when they come, and that it is told whether they did.

use super::*;

/// Those who ask hardly wait.
fn hurried(config: &mut AiSettings) {
    config.soft_timeout = Duration::from_millis(1);
}

/// What is remembered, however short the soft timeout and however busy the machine.
async fn found(setup: &Setup) -> AiAnalysisResults {
    loop {
        match setup.analyse().await {
            Ok(results) => return results,
            Err(Unanswered { late, .. }) => assert!(late.expect("it is under way").is_cached().await),
        }
    }
}

#[tokio::test]
async fn a_late_answer_is_told_when_the_next_one_who_asks_finds_it() {
    let setup = Setup::with([titled("late")], hurried).await;
    setup.endpoint.hold();
    let late = setup.late(setup.request()).await;
    let joined = setup.late(setup.request()).await;
    setup.endpoint.release();
    assert!(late.is_cached().await && joined.is_cached().await);
    assert_eq!(title(&found(&setup).await), "late");
    assert_eq!(setup.endpoint.calls(), 1);
}

#[tokio::test]
async fn an_assembly_whose_time_is_up_is_told_too() {
    let setup = Setup::new([titled("late")]).await;
    setup.endpoint.hold();
    let late = setup.late(AnalysisRequest { until: Instant::now(), ..setup.request() }).await;
    setup.endpoint.release();
    assert!(late.is_cached().await);
    assert_eq!(title(&found(&setup).await), "late");
}

#[tokio::test]
async fn a_late_answer_to_a_refresh_stands_in_the_old_ones_place() {
    let setup = Setup::new([titled("old"), titled("new")]).await;
    assert_eq!(title(&found(&setup).await), "old");
    setup.endpoint.hold();
    let late = setup.late(AnalysisRequest { refresh: true, until: Instant::now(), ..setup.request() }).await;
    setup.endpoint.release();
    assert!(late.is_cached().await);
    assert_eq!(title(&found(&setup).await), "new");
    assert_eq!(setup.endpoint.calls(), 2);
}

#[tokio::test]
async fn a_call_that_fails_late_is_told_as_such() {
    for refresh in [false, true] {
        let setup = Setup::with([Say::status(501)], hurried).await;
        setup.endpoint.hold();
        let late = setup.late(AnalysisRequest { refresh, ..setup.request() }).await;
        setup.endpoint.release();
        assert!(!late.is_cached().await);
        assert_eq!(setup.remembered().await, 0);
    }
}

#[tokio::test]
async fn a_late_answer_that_nobody_will_find_is_no_reason_to_ask_again() {
    let erased = Setup::with([titled("a")], hurried).await;
    erased.endpoint.hold();
    let late = erased.late(erased.request()).await;
    erased.source.forget(&erased.user).await;
    erased.endpoint.release();
    assert!(!late.is_cached().await, "its user was erased");

    let broken = Setup::with([titled("a")], hurried).await;
    broken.sql("DROP TABLE ai_response_cache").await;
    broken.endpoint.hold();
    let late = broken.late(broken.request()).await;
    broken.endpoint.release();
    assert!(!late.is_cached().await, "the response cache takes nothing");
}

#[tokio::test]
async fn what_failed_in_time_is_not_waited_for() {
    let setup = Setup::new([Say::status(501)]).await;
    assert!(setup.analyse().await.unwrap_err().late.is_none());
}
