//! Four real processes, twelve clients, and something breaks every few seconds: no answer is older
//! than an acknowledged invalidation allows, and no tier costs an error.
//!
//! In CI for a minute; `tests/soak` runs the same for as long as it is told. What a run does is drawn
//! from its seed, which is printed; when it happens depends on the machine.

mod calls;
mod chaos;
mod clients;
mod figures;
mod ground;
mod oracle;
mod silence;
mod timeline;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use calls::{Change, Run, Way};
use figures::{Figures, Totals, percentile};
use ground::{Ground, INSTANCES, STRATEGIES, USERS};
use oracle::{Oracle, row};
use timeline::{Part, Timeline};

use testkit::{
    ask::{runs, stats},
    server::{Client, client},
    wait_for,
};

/// How often it is said how far a run is.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// A minute, and if the machine is so busy that it shows too little, some more.
const AT_LEAST: Duration = Duration::from_secs(60);
const AT_MOST: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_nothing_outdated_is_served_and_no_tier_costs_an_error() {
    let figures = run(seed(), AT_LEAST, AT_MOST, true).await;
    assert!(figures.hold(), "what is wrong is told above, with the ends of the servers' logs");
    assert!(figures.reach_the_marks(), "{}", figures.line());
    // Coarse: that p99 is below 50 ms is for a quiet machine, and the soak prints it.
    assert!(percentile(&figures.by_notification, 0.99) <= Duration::from_millis(600), "{}", figures.line());
    assert!(percentile(&figures.by_poll, 1.0) <= Duration::from_millis(600), "{}", figures.line());
}

/// `USERDATA_SOAK_SECONDS` and perhaps `USERDATA_FAULTS_SEED` say what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is told to: bash tests/soak 20m"]
async fn soak() {
    let seconds = number("USERDATA_SOAK_SECONDS").expect("how long: bash tests/soak 20m");
    let length = Duration::from_secs(seconds);
    let figures = run(seed(), length, length, true).await;
    assert!(figures.hold(), "what is wrong is told above, with the ends of the servers' logs");
}

/// The run notices what it looks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_change_feed_committed_changes_are_missed() {
    let figures = run(seed(), AT_LEAST, AT_LEAST, false).await;
    assert!(!figures.violations.is_empty(), "{}", figures.line());
}

fn seed() -> u64 {
    number("USERDATA_FAULTS_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(text.to_str()?.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

/// Reads before the first fault: every instance has answered often by then.
const WARM_READS: u64 = 500;

/// Runs for so long, or longer until the figures suffice.
async fn run(seed: u64, at_least: Duration, at_most: Duration, with_feed: bool) -> Figures {
    eprintln!("seed {seed}");
    let (mut ground, sources) = Ground::prepare(with_feed).await;
    let run = Arc::new(Run {
        sources,
        oracle: Oracle::new(),
        timeline: Timeline::new(),
        totals: Totals::default(),
        stop: AtomicBool::new(false),
    });
    run.totals.with(|figures| figures.seed = seed);
    let mut clients = JoinSet::new();
    for number in 0..clients::CLIENTS {
        let connections = connections(&ground).await;
        clients.spawn(clients::client(run.clone(), connections, seed, number));
    }
    let connections = connections(&ground).await;
    let (beside, _line) = ground.beside().await;
    let calm = AtomicBool::new(false);
    let rage = async {
        // Connections to the sources are open by then: opening one is given up after a second, so a process that is
        // stopped meanwhile loses its load by that, which says nothing about a tier.
        let has_begun = || run.is_over() || run.totals.with(|figures| figures.reads >= WARM_READS);
        wait_for("the first answers", async || has_begun().then_some(())).await;
        chaos::rage(&mut ground, &run.timeline, &run.totals, seed, &calm).await;
    };
    let watch = async {
        watch(&run, &connections, |elapsed, figures| elapsed < at_least || (elapsed < at_most && !figures.suffice()))
            .await;
        calm.store(true, Ordering::Relaxed);
    };
    tokio::join!(rage, watch, notice_slowness(&run.timeline, &beside, &calm));
    run.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    if run.totals.with(|figures| figures.violations.is_empty()) {
        all_is_well_again(&run, &connections).await;
    }
    let mut figures = run.totals.with(|figures| figures.clone());
    figures.panics = ground.panics();
    if !figures.hold() {
        eprintln!("{}\npanics: {:#?}", ground.tell_logs(), figures.panics);
    }
    // Last: it is all that most want to see.
    eprintln!("{}", figures.line());
    figures
}

async fn connections(ground: &Ground) -> Vec<Client> {
    let mut connections = Vec::new();
    for address in ground.addresses() {
        connections.push(client(address).await);
    }
    connections
}

/// While it goes on and nothing is wrong: says how far it is, and follows how often the sources ran.
async fn watch(run: &Run, connections: &[Client], goes_on: impl Fn(Duration, &Figures) -> bool) {
    let mut told = Instant::now();
    let mut source_runs = SourceRuns::default();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while run.totals.with(|figures| goes_on(run.timeline.began.elapsed(), figures)) && !run.is_over() {
        every.tick().await;
        source_runs.look(connections).await;
        run.totals.with(|figures| figures.source_runs = source_runs.sum());
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            eprintln!("after {}: {}", run.timeline.at(told), run.totals.with(|figures| figures.line()));
        }
    }
}

/// A lease of the log lasts 500 ms, and its renewal takes as many steps.
const SLOW: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(50);

/// A machine or a disk that is busy with something else makes everything slow. That is found out beside the instances, by
/// pauses that end late, and by a transaction of as many steps as a commit, over such a line as theirs. It is a disturbance
/// like those that are made here.
async fn notice_slowness(timeline: &Timeline, postgres: &DatabaseConnection, calm: &AtomicBool) {
    let everybody: Vec<_> =
        (0..INSTANCES).flat_map(|instance| [(Part::Database, instance), (Part::Outbox, instance)]).collect();
    while !calm.load(Ordering::Relaxed) {
        let mut commit = pin!(commit_beside(postgres));
        if tokio::time::timeout(SLOW, &mut commit).await.is_err() {
            let what = "commits are slow beside the instances, too";
            timeline.begins(what, false, &everybody);
            // An error says that PostgreSQL is down, which the timeline knows.
            let _done = commit.await;
            timeline.ended(what, &everybody);
        }
        let paused_at = Instant::now();
        tokio::time::sleep(PAUSE).await;
        if paused_at.elapsed() > PAUSE + SLOW {
            let what = "the machine is busy";
            timeline.begins(what, false, &everybody);
            timeline.ended(what, &everybody);
        }
    }
}

async fn commit_beside(postgres: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = postgres.begin().await?;
    transaction.execute_unprepared("UPDATE beside SET commits = commits + 1").await?;
    transaction.execute_unprepared("SELECT commits FROM beside").await?;
    transaction.commit().await
}

/// Runs of all sources, by instance: of earlier lives and of the present one. What a life did after it
/// was last asked is lost.
#[derive(Debug, Default)]
struct SourceRuns([(u64, u64); INSTANCES]);

impl SourceRuns {
    async fn look(&mut self, connections: &[Client]) {
        for ((earlier, present), connection) in self.0.iter_mut().zip(connections) {
            let mut connection = connection.clone();
            let asked = connection.get_cache_stats(userdata::proto::v1::GetCacheStatsRequest::default());
            // It may stand still.
            let Ok(Ok(stats)) = tokio::time::timeout(Duration::from_millis(300), asked).await else { continue };
            let now = runs(stats.get_ref()).iter().map(|(_, runs)| u64::try_from(*runs).unwrap_or(0)).sum();
            if now < *present {
                *earlier += *present;
            }
            *present = now;
        }
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|(earlier, present)| earlier + present).sum()
    }
}

/// Once nothing is broken any more, every instance soon acknowledges, and answers every caller with the newest, verified.
async fn all_is_well_again(run: &Run, connections: &[Client]) {
    for (instance, connection) in connections.iter().enumerate() {
        let users = (0..USERS).map(|user| async move {
            let change = Change { user, strategy: None, wait_for_all: true, purge: false };
            while run.change(connections, instance, change).await.is_none() {
                // An acknowledgement that is due by now has been counted as an error.
                if run.totals.with(|figures| !figures.errors.is_empty()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for which in 0..STRATEGIES {
                let strict = run.read(connections, instance, (user, Some(which)), &Way::Strict).await;
                let newest = run.oracle.begun(row(user, which));
                if strict.as_ref().is_none_or(|(_, seen)| seen.count != newest) {
                    run.violated(&format!("instance {instance} is not well at the end: {strict:?}, not {newest}"));
                }
            }
        });
        futures::future::join_all(users).await;
        let no_load = async || (stats(connection).await.loads_active == 0).then_some(());
        wait_for(&format!("the loads of instance {instance} to end"), no_load).await;
    }
}
