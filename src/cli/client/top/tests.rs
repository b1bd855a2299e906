//! The screen that two answers make, character by character.

use tonic::Code;

use super::{screen::drawn, *};
use crate::proto::v1::{
    AnswerStats, CacheStatus, ChangeStats, InvalidationLogStats, PrefetchStats, SourceStats, StalenessCheckStats,
    TierStats,
};

/// A server's answer; everything that grows has grown `times`.
fn answer(uptime: Duration, times: i64) -> TopSample {
    let milliseconds = |count| Some(Duration::from_millis(count).into());
    let tier = |tier: &str, hits: i64, misses: i64| TierStats {
        tier: tier.to_owned(),
        enabled: true,
        hits: hits * times,
        misses: misses * times,
        latency_p50: milliseconds(1),
        latency_p99: milliseconds(12),
        breaker_state: "closed".to_owned(),
        ..Default::default()
    };
    let source = |source: &str, failures: i64, breaker: &str, error: &str| SourceStats {
        source: source.to_owned(),
        runs: 4 * times,
        failures: failures * times,
        latency_p50: milliseconds(20),
        latency_p99: milliseconds(350),
        in_flight: 2,
        breaker_state: breaker.to_owned(),
        last_error: error.to_owned(),
    };
    let served = |status: CacheStatus, answers: i64| AnswerStats { status: status.into(), answers: answers * times };
    let stats = GetCacheStatsResponse {
        requests: 2400 * times,
        answers: vec![
            served(CacheStatus::HitMemory, 2300),
            served(CacheStatus::HitRedis, 90),
            served(CacheStatus::HitDatabase, 0),
            served(CacheStatus::Assembled, 10),
        ],
        tiers: vec![
            TierStats {
                entries: Some(9876),
                bytes: Some(123 << 20),
                evictions: Some(6 * times),
                ..tier("memory", 2300, 100)
            },
            TierStats { breaker_state: "open".to_owned(), ..tier("redis", 90, 10) },
            tier("database", 0, 10),
        ],
        sources: vec![
            source("onboarding", 0, "closed", ""),
            source("strategy", 0, "closed", ""),
            source("ai_analysis", 2, "half_open", "TIMEOUT\u{1b}[2J"),
            source("gap_analysis", 0, "closed", ""),
            source("performance", 0, "closed", ""),
            source("recommendations", 0, "closed", ""),
        ],
        superseded: 3 * times,
        loads_active: 5,
        invalidation_log: Some(InvalidationLogStats {
            applied: 4711,
            lease_remaining: milliseconds(466),
            lag: milliseconds(34),
            commits: 8 * times,
            notifications: 2 * times,
            gaps: 0,
        }),
        changes: Some(ChangeStats { active: true, changes: 20 * times, lag: milliseconds(90), ..Default::default() }),
        prefetch: Some(PrefetchStats { started: times, finished: 7, read: 6, skipped_budget: 3, ..Default::default() }),
        staleness_check: Some(StalenessCheckStats { compared: 30, ..Default::default() }),
        ai_calls_made: times,
        ai_prompt_tokens: 1000 * times,
        uptime: Some(uptime.into()),
        version: "1.2.3".to_owned(),
        ..Default::default()
    };
    TopSample { health: "SERVING".to_owned(), stats }
}

fn view() -> View {
    let mut view = View::of("http://127.0.0.1:50051".to_owned());
    view.learn(Ok(answer(Duration::from_secs(3718), 10)));
    view.learn(Ok(answer(Duration::from_secs(3720), 11)));
    view
}

#[test]
fn two_answers_make_a_screen_of_80_by_24() {
    let expected = "\
userdata top  http://127.0.0.1:50051 SERVING  version 1.2.3  up 1h 2m  q quits

requests  1200/s   refused as outdated 1.5/s   loads 5   unverified 0.0/s
answers   memory 95% redis 3% assembled <1%

tier        docs       bytes  looks/s     hits      p50      p99 out/s  breaker
memory      9876  123.00 MiB     1200      95%    1.0ms   12.0ms   3.0  closed
redis          -           -     50.0      90%    1.0ms   12.0ms     -  open
database       -           -      5.0       0%    1.0ms   12.0ms     -  closed

source           runs/s fails/s running      p50      p99  breaker   last error
onboarding          2.0     0.0       2   20.0ms  350.0ms  closed
strategy            2.0     0.0       2   20.0ms  350.0ms  closed
ai_analysis         2.0     1.0       2   20.0ms  350.0ms  half_open TIMEOUT\u{fffd}[2J
gap_analysis        2.0     0.0       2   20.0ms  350.0ms  closed
performance         2.0     0.0       2   20.0ms  350.0ms  closed
recommendations     2.0     0.0       2   20.0ms  350.0ms  closed

log       at 4711  read 34.0ms ago  lease 466.0ms  commits 4.0/s  notified 1.0/s
changes   10.0/s  the latest had waited 90.0ms
prefetch  0.5/s  read 6 of 7  over budget 3
AI calls  0.5/s  avoided 0.0/s  shared 0.0/s  tokens 500/s sent, 0.0/s received
staleness 30 compared  0 served outdated  0 undecided
";
    assert_eq!(drawn(&view(), 80, 24), expected);
}

#[test]
fn a_server_that_does_not_answer_is_told_and_what_was_known_stays() {
    let mut view = view();
    for _ in 0..2 {
        view.learn(Err(Failure::new(Code::Unavailable, "cannot connect")));
    }
    let text = view.text();
    let first: Vec<_> = text.lines().take(3).collect();
    assert!(first[0].contains("NOT ANSWERING"), "{text}");
    assert_eq!(first[1], "NO ANSWER (2), trying again: UNAVAILABLE: cannot connect");
    assert!(first[2].starts_with("requests  1200/s"), "{text}");
    assert!(view.stats().is_none(), "an old answer is none for programs");

    let mut never = View::of("http://127.0.0.1:1".to_owned());
    never.learn(Err(Failure::new(Code::Unavailable, "cannot connect")));
    assert_eq!(never.text().lines().count(), 2, "{}", never.text());
}

#[test]
fn a_restart_is_no_negative_rate() {
    let mut view = view();
    view.learn(Ok(answer(Duration::from_secs(1), 1)));
    assert!(view.text().contains("requests  -/s") && view.text().contains("answers   none"), "{}", view.text());
    view.learn(Ok(answer(Duration::from_secs(2), 2)));
    assert!(view.text().contains("requests  2400/s"), "{}", view.text());
}

#[test]
fn small_screens_are_cut_and_not_wrapped() {
    let small = drawn(&view(), 20, 3);
    assert_eq!(small, "userdata top  http:/\n\nrequests  1200/s   r");
}
