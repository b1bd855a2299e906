//! Several instances and one question: who asks, and what the others hear of it.

use super::*;

/// An instance whose database counts how often a lease was asked for.
async fn counting(replies: impl IntoIterator<Item = Say>, configure: impl FnOnce(&mut AiSettings)) -> Setup {
    let setup = Setup::with(replies, configure).await;
    setup.sql("CREATE TABLE turns (n INTEGER)").await;
    setup.sql("CREATE TRIGGER t BEFORE INSERT ON load_lease BEGIN INSERT INTO turns VALUES (1); END").await;
    setup
}

impl Setup {
    /// Asks and does not wait.
    async fn begin(&self) -> Late {
        self.late(AnalysisRequest { until: Instant::now(), ..self.request() }).await
    }

    /// Waits until a lease was asked for so many times.
    async fn turns(&self, times: usize) {
        self.until(async || self.rows("SELECT n FROM turns").await >= times).await;
    }

    /// Waits until nobody holds a lease.
    async fn leases_are_given_back(&self) {
        self.until(async || self.rows("SELECT key FROM load_lease").await == 0).await;
    }

    async fn until(&self, is: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is().await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(NO_LIMIT, waiting).await.unwrap();
    }
}

#[tokio::test]
async fn one_instance_asks_and_the_others_find_its_answer() {
    let a = counting([titled("one"), titled("two")], |_| {}).await;
    let (b, c) = (a.beside(|_| {}), a.beside(|_| {}));
    a.endpoint.hold();
    let late = [a.begin().await, b.begin().await, c.begin().await];
    a.turns(3).await;
    a.endpoint.release();
    for late in late {
        assert!(late.is_cached().await);
    }
    for instance in [&a, &b, &c] {
        assert_eq!(title(&instance.analyse().await.unwrap()), "one");
    }
    assert_eq!((a.endpoint.calls(), a.remembered().await), (1, 1));
    let figures = [&a, &b, &c].map(|instance| instance.source.metrics());
    assert_eq!(figures.map(|figures| figures.calls).iter().sum::<u64>(), 1);
    assert_eq!(figures.map(|figures| figures.avoided).iter().sum::<u64>(), 2 + 3, "two waited, three looked it up");
    a.leases_are_given_back().await;
}

#[tokio::test]
async fn a_failure_is_told_to_those_who_wait_and_its_own_callers_ask_anew_after_the_pause() {
    let a = counting([Say::status(400)], |_| {}).await;
    let b = a.beside(|_| {});
    a.endpoint.hold();
    let late = a.begin().await;
    a.endpoint.called(1).await;
    let told = tokio::join!(b.reason(), async {
        a.turns(2).await;
        a.endpoint.release();
    });
    assert_eq!(told.0, "AI_REJECTED");
    assert!(!late.is_cached().await);
    assert_eq!(a.endpoint.calls(), 1);
    assert_eq!((b.source.metrics(), b.source.guard().stats().runs), (AiMetrics::default(), 0));

    assert_eq!(a.reason().await, "AI_REJECTED");
    assert_eq!(a.endpoint.calls(), 1);
    a.clock.advance(Duration::from_secs(60));
    assert_eq!(a.reason().await, "AI_REJECTED");
    assert_eq!(a.endpoint.calls(), 2);
    a.stop.cancel();
    a.leases_are_given_back().await;
}

#[tokio::test]
async fn an_instance_without_calls_left_or_with_a_wrong_key_leaves_the_question_to_others() {
    let mut spent = Setup::with([titled("another"), titled("ours")], |config| config.calls_per_minute = 1).await;
    spent.strategy.row["industry"] = "finance".into();
    spent.analyse().await.unwrap();
    spent.strategy = plain_strategy();
    assert_eq!(spent.reason().await, "AI_BUDGET");
    assert_eq!(title(&spent.beside(|_| {}).analyse().await.unwrap()), "ours");

    let strange = Setup::new([Say::status(401), titled("ours")]).await;
    assert_eq!(strange.reason().await, "AI_UNAUTHORIZED");
    assert_eq!(title(&strange.beside(|_| {}).analyse().await.unwrap()), "ours");
}

#[tokio::test]
async fn an_instance_that_leaves_the_endpoint_alone_lets_others_ask_and_hears_their_answer() {
    let a = counting([Say::status(501), Say::status(501), Say::status(501), titled("theirs")], |_| {}).await;
    for _ in 0..3 {
        assert_eq!(a.reason().await, "AI_SERVER_ERROR");
    }
    assert_eq!(a.reason().await, "BREAKER_OPEN");
    a.leases_are_given_back().await;

    let b = a.beside(|_| {});
    a.endpoint.hold();
    b.begin().await;
    a.endpoint.called(4).await;
    a.sql("DELETE FROM turns").await;
    let (heard, ()) = tokio::join!(a.analyse(), async {
        a.turns(1).await;
        a.endpoint.release();
    });
    assert_eq!(title(&heard.unwrap()), "theirs");
    assert_eq!(a.source.guard().stats().breaker_state, "open");
}

#[tokio::test]
async fn another_instances_call_is_waited_for_until_the_hard_timeout() {
    let a = Setup::new([titled("never")]).await;
    let b = a.beside(|config| config.hard_timeout = Duration::from_millis(100));
    a.endpoint.hold();
    a.begin().await;
    a.endpoint.called(1).await;
    let unanswered = b.analyse().await.unwrap_err();
    assert_eq!((unanswered.error.reason(), unanswered.late.is_some()), ("AI_TIMEOUT", false));
    assert_eq!(a.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_shutdown_waits_for_no_other_instance() {
    let a = counting([titled("never")], |_| {}).await;
    let b = a.beside(|_| {});
    a.endpoint.hold();
    a.begin().await;
    a.endpoint.called(1).await;
    let late = b.begin().await;
    b.turns(2).await;
    b.stop.cancel();
    assert!(!late.is_cached().await);
    b.idle().await;
    assert_eq!(a.endpoint.calls(), 1);
}

#[tokio::test]
async fn a_refresh_waits_for_no_other_instance() {
    let a = Setup::new([titled("theirs"), titled("new")]).await;
    let b = a.beside(|_| {});
    a.endpoint.hold();
    a.begin().await;
    a.endpoint.called(1).await;
    let (refreshed, ()) = tokio::join!(b.source.analyse(AnalysisRequest { refresh: true, ..b.request() }), async {
        a.endpoint.called(2).await;
        a.endpoint.release();
    });
    assert_eq!(title(&refreshed.unwrap().results.unwrap()), "new");
}

#[tokio::test]
async fn without_the_database_each_instance_asks_for_itself() {
    let a = Setup::new([titled("one"), titled("two")]).await;
    let b = a.beside(|_| {});
    a.sql("DROP TABLE load_lease").await;
    a.endpoint.hold();
    let (of_a, of_b, ()) = tokio::join!(a.analyse(), b.analyse(), async {
        a.endpoint.called(2).await;
        a.endpoint.release();
    });
    assert_eq!(title(&of_a.unwrap()), title(&of_b.unwrap()), "the first one that was remembered");
}
