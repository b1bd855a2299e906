//! The lease on several instances: one of them works at a time while its heartbeat moves, the work of the dead is
//! taken over, what came of it is told, and no row stays for ever.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use sea_orm::sea_query::Expr;
use serde_json::{Value, json};
use shuttle::future::{JoinHandle, spawn};
use tokio_util::sync::CancellationToken;
use userdata::config;
use userdata::{
    clock::Clock,
    database::in_memory::{Flaw, LeaseRecord, MemoryDatabase, Weather},
    lease::{Claim, Leases, SharedWork, WaitOutcome},
    sync::shuttled::{chance, task::TaskTracker, time},
};

use crate::explore::{Pace, all, explore, repeat, violation};

const SCHEDULES: usize = 4000;
const HASTY: Pace = Pace::Hasty(8);
const KEY: &str = "work";
/// For one statement, as in the product.
const TIMEOUT: Duration = Duration::from_millis(200);
/// For taking a lease.
const LIMIT: Duration = Duration::from_millis(500);
const CALM: Weather = Weather { slow: 0, lost: 0, transient: 0, way_max: Duration::ZERO };
/// Every fourth statement travels for up to 300 ms each way, also after its asker has given up.
const STORM: Weather = Weather { slow: 4, lost: 10, transient: 0, way_max: Duration::from_millis(300) };

/// An instance.
#[derive(Clone)]
struct Instance {
    leases: Arc<Leases>,
    tasks: TaskTracker,
    database: MemoryDatabase,
    config: config::LoadLeaseSettings,
    /// Instances that work now.
    working: Arc<Mutex<HashSet<usize>>>,
    number: usize,
}

/// How one instance came to an end of its wish to have something done.
#[derive(Debug, PartialEq)]
enum End {
    /// It did it itself, for all.
    Worked,
    /// It began it and died.
    Died,
    /// It had been done before.
    Done,
    /// It was told how it had ended.
    Outcome(Value),
    /// The database was of no help.
    Alone,
}

/// How work goes.
#[derive(Clone, Copy)]
struct Job {
    takes: Duration,
    /// How it ends; none: with a result.
    outcome: Option<&'static str>,
    /// Its instance dies meanwhile, once in so many.
    deadly: u64,
}

const JOB: Job = Job { takes: Duration::from_secs(7), outcome: None, deadly: 0 };
/// How long an outcome is shared.
const LIFE: Duration = Duration::from_secs(2);

fn instances<const N: usize>(weather: Weather, flaw: Option<Flaw>) -> [Instance; N] {
    let database = MemoryDatabase::new(Duration::ZERO, weather).with(flaw);
    let (config, working) = (config::LoadLeaseSettings::default(), Arc::default());
    std::array::from_fn(|number| {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let leases = Leases::over(database.clone(), &config, TIMEOUT, Clock::system(), tasks.clone(), stop);
        Instance {
            leases: Arc::new(leases),
            tasks,
            database: database.clone(),
            config: config.clone(),
            working: Arc::clone(&working),
            number,
        }
    })
}

impl Instance {
    fn spawn(&self, job: Job, read_position: i64) -> JoinHandle<End> {
        let instance = self.clone();
        spawn(async move { instance.have_done(job, read_position).await })
    }

    /// Waits until it works.
    async fn works(&self) {
        while !self.working.lock().unwrap().contains(&self.number) {
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// As a load does it: asks, watches, takes over, asks again.
    async fn have_done(&self, job: Job, read_position: i64) -> End {
        let until = Clock::system().now().after(self.config.wait_max);
        let work = SharedWork {
            key: KEY.to_owned(),
            read_position,
            last_invalidation: read_position,
            done: Expr::cust("FALSE"),
        };
        let mut over = None;
        loop {
            match self.leases.claim(&work, over.take(), LIMIT).await {
                Claim::Alone => return End::Alone,
                Claim::Ours(lease) if lease.done => return End::Done,
                Claim::Ours(lease) => {
                    self.working.lock().unwrap().insert(self.number);
                    let deadly = chance::once_in(job.deadly);
                    time::sleep(if deadly { job.takes / 2 } else { job.takes }).await;
                    self.working.lock().unwrap().remove(&self.number);
                    if deadly {
                        self.tasks.die();
                        return End::Died;
                    }
                    match job.outcome {
                        Some(outcome) => lease.end(json!(outcome), LIFE),
                        None => self.database.at_once(|tables| tables.done.extend([KEY.to_owned()])),
                    }
                    return End::Worked;
                }
                Claim::Theirs(watch) => match self.leases.wait(watch, until, || read_position).await {
                    WaitOutcome::Released => {}
                    WaitOutcome::Expired(watch) => over = Some(watch),
                    WaitOutcome::Ended { outcome, .. } => return End::Outcome(outcome),
                    WaitOutcome::TimedOut => return End::Alone,
                    WaitOutcome::Stopped => unreachable!("nobody shuts down"),
                },
            }
        }
    }
}

/// Whether a lease might be taken from its holder at a moment: it had stood still, or its outcome was too old.
fn was_over(row: &LeaseRecord, at: Duration, stood_still: Duration) -> bool {
    let life = if row.outcome.is_some() { LIFE } else { stood_still };
    at - row.moved_at >= life
}

/// Three want the same, which takes longer than a lease lives without a heartbeat.
async fn working(flaw: Option<Flaw>) {
    let instances: [Instance; 3] = instances(CALM, flaw);
    let watcher = instances[0].clone();
    let look = spawn(async move {
        for _ in 0..30 {
            time::sleep(Duration::from_millis(950)).await;
            let working = watcher.working.lock().unwrap().len();
            assert!(working <= 1, "{working} work at a time while heartbeats move");
        }
    });
    let mut ends = all(instances.iter().map(|instance| instance.spawn(JOB, 0)).collect::<Vec<_>>()).await;
    ends.sort_by_key(|end| *end != End::Worked);
    assert_eq!(ends, [End::Worked, End::Done, End::Done], "one works for all");
    look.await.unwrap();
    for instance in &instances {
        instance.tasks.ended().await;
    }
    instances[0].database.at_once(|tables| {
        assert!(tables.leases.is_empty(), "given back leases are still there: {:?}", tables.leases);
        assert!(tables.taken_over.is_empty(), "somebody living was taken over");
    });
}

#[test]
fn one_works_for_all_while_its_heartbeat_moves_and_gives_its_lease_back() {
    explore(SCHEDULES, Pace::Patient, || working(None));
}

#[test]
fn it_is_noticed_when_a_lease_is_taken_from_the_living() {
    let found = violation(SCHEDULES, Pace::Patient, || working(Some(Flaw::TakesFromTheLiving)));
    assert!(found.contains("work at a time") || found.contains("one works for all"), "{found}");
}

/// Instances die at work, or are starved; statements are late and lost.
async fn dying(weather: Weather, flaw: Option<Flaw>) {
    let instances: [Instance; 4] = instances(weather, flaw);
    let job = Job { deadly: 2, ..JOB };
    let ends = all(instances.iter().map(|instance| instance.spawn(job, 0)).collect::<Vec<_>>()).await;
    let takeover = instances[0].config.takeover;
    instances[0].database.at_once(|tables| {
        for (row, at) in &tables.taken_over {
            assert!(was_over(row, *at, takeover), "taken over at {at:?} from the living: {row:?}");
        }
        let given_up = ends.iter().any(|end| matches!(end, End::Alone | End::Died));
        assert!(tables.done.contains(KEY) || given_up, "nobody did it: {ends:?}");
    });
    // What the dead have left, and what came late, is swept when it has not moved for long.
    let swept_after = takeover + instances[0].config.outcome_max;
    for _ in 0..4 {
        time::sleep(swept_after + Duration::from_secs(1)).await;
        let _ = instances[0].leases.sweep(10).await;
    }
    for instance in &instances {
        instance.tasks.ended().await;
    }
    while instances[0].leases.sweep(10).await.is_err() {}
    time::sleep(swept_after + Duration::from_secs(1)).await;
    while instances[0].leases.sweep(10).await.is_err() {}
    instances[0].database.at_once(|tables| {
        assert!(tables.leases.is_empty(), "a row stays for ever: {:?}", tables.leases);
        for (row, at) in &tables.swept {
            assert!(was_over(row, *at, swept_after), "swept at {at:?} from the living: {row:?}");
        }
    });
}

#[test]
fn only_the_dead_and_the_starved_are_taken_over_and_no_row_stays_for_ever() {
    explore(SCHEDULES, HASTY, || dying(CALM, None));
}

#[test]
fn not_even_a_late_statement_leaves_a_row_for_ever() {
    explore(SCHEDULES, HASTY, || dying(STORM, None));
}

#[test]
fn it_is_noticed_when_a_takeover_does_not_ask_for_the_heartbeat() {
    let found = violation(SCHEDULES, HASTY, || dying(STORM, Some(Flaw::TakesOverBlindly)));
    assert!(found.contains("from the living"), "{found}");
}

/// One holds the lease and dies; two others wait.
async fn inheriting(flaw: Option<Flaw>) {
    let instances: [Instance; 3] = instances(CALM, flaw);
    let dead = instances[0].spawn(Job { deadly: 1, takes: Duration::from_millis(2500), ..JOB }, 0);
    // The others come when it has begun.
    instances[0].works().await;
    let job = Job { takes: Duration::from_secs(1), ..JOB };
    let heirs: Vec<_> = instances[1..].iter().map(|instance| instance.spawn(job, 0)).collect();
    assert_eq!(dead.await.unwrap(), End::Died);
    let died_at = time::now();
    let mut ends = all(heirs).await;
    ends.sort_by_key(|end| *end != End::Worked);
    assert_eq!(ends, [End::Worked, End::Done], "one of the heirs does it, and the other one sees that");
    // The heartbeat is seen to stand still a look later, and the work's end another one later.
    let config = &instances[0].config;
    let longest = config.takeover + job.takes + config.poll.mul_f64(1.2) * 2;
    let waited = time::now() - died_at;
    assert!(waited <= longest, "the heirs waited for {waited:?}");
}

#[test]
fn the_work_of_the_dead_is_taken_over_by_one_when_its_heartbeat_has_stopped() {
    explore(SCHEDULES, Pace::Patient, || inheriting(None));
}

/// Work that began before an invalidation loses its lease to work that began after it.
async fn losing_it(flaw: Option<Flaw>) {
    let instances: [Instance; 2] = instances(CALM, flaw);
    let heartbeat = instances[0].config.heartbeat;
    // It ends before or after its heartbeat could have told it.
    let takes = if chance::once_in(2) { heartbeat / 2 } else { heartbeat * 6 };
    let old = instances[0].spawn(Job { takes, ..JOB }, 0);
    instances[0].works().await;
    let new = instances[1].spawn(Job { takes: heartbeat * 10, ..JOB }, 1);
    instances[1].works().await;
    let ended = time::timeout(heartbeat * 2, instances[0].tasks.ended()).await;
    assert!(ended.is_ok(), "the older holder holds on");
    old.await.unwrap();
    let row = instances[1].database.at_once(|tables| tables.leases.get(KEY).cloned());
    assert!(row.is_some_and(|row| row.read_position == 1), "the older holder gave back what is not its own");
    assert_eq!(new.await.unwrap(), End::Worked);
}

#[test]
fn whoever_lost_its_lease_notices_and_leaves_the_new_one_alone() {
    explore(SCHEDULES, Pace::Patient, || losing_it(None));
}

#[test]
fn it_is_noticed_when_any_claimant_can_send_heartbeats() {
    let found = violation(SCHEDULES, Pace::Patient, || losing_it(Some(Flaw::HeartbeatsForAll)));
    assert!(found.contains("holds on"), "{found}");
}

#[test]
fn it_is_noticed_when_somebody_gives_back_what_is_not_its_own() {
    let found = violation(SCHEDULES, Pace::Patient, || losing_it(Some(Flaw::ReleasesAll)));
    assert!(found.contains("not its own"), "{found}");
}

/// One works and ends without a result while two others wait.
async fn telling(flaw: Option<Flaw>) {
    let instances: [Instance; 3] = instances(CALM, flaw);
    let job = Job { takes: Duration::from_secs(2), outcome: Some("nothing there"), ..JOB };
    let mut ends = all(instances.iter().map(|instance| instance.spawn(job, 0)).collect::<Vec<_>>()).await;
    ends.sort_by_key(|end| *end != End::Worked);
    let told = || End::Outcome(json!("nothing there"));
    assert_eq!(ends, [End::Worked, told(), told()], "those who wait are told");
    for instance in &instances {
        instance.tasks.ended().await;
    }
    let left = instances[0].database.at_once(|tables| tables.leases.len());
    assert_eq!(left, 0, "an outcome stays for ever");
}

#[test]
fn those_who_wait_are_told_how_work_without_a_result_ended() {
    explore(SCHEDULES, Pace::Patient, || telling(None));
}

#[test]
fn it_is_noticed_when_an_outcome_is_overwritten() {
    let found = violation(SCHEDULES, Pace::Patient, || telling(Some(Flaw::TakesFromTheLiving)));
    assert!(found.contains("are told"), "{found}");
}

#[test]
fn a_schedule_determines_everything_that_leases_do() {
    repeat(50, HASTY, || dying(STORM, None));
}
