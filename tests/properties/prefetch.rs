//! What is assembled behind changes and before anybody asks: when, for whom, at what cost; and that nobody who waits
//! loses anything by it.

use std::time::Duration;

use prost::Message as _;
use tokio_util::task::TaskTracker;
use userdata::{
    cache::{InvalidateOptions, ReadOptions},
    clock::Clock,
    config::Config,
    fault::{FaultPoint, Gauge, Mode, Place},
    model::{CacheStatus, Served, Tier},
    proto::v1::{ComprehensiveUserData, PrefetchStats},
};

use testkit::ai::{FakeAi, Say, valid_answer};

use crate::{
    Alone, StoppedTime,
    instance::{Instance, LEASE, move_on},
    script::{Key, Part},
    world::World,
};

const QUIET: Duration = Duration::from_secs(1);
const STRATEGY: FaultPoint = FaultPoint::Source("strategy");
/// Looks at a state that needs real time: statements and an endpoint on loopback.
const LOOKS: u32 = 100_000;

/// Instances in stopped time.
struct Case {
    world: World,
    clock: Clock,
    instances: Vec<Instance>,
    count: i64,
}

impl Case {
    async fn start(instances: usize, configure: impl Fn(&mut Config)) -> Self {
        let (mut world, clock, gauge) = (World::open().await, Clock::system(), Gauge::default());
        world.empty().await;
        let configure = |config: &mut Config| {
            config.prefetch.quiet = QUIET;
            config.prefetch.delay_max = 3 * QUIET;
            configure(config);
        };
        let mut started = Vec::new();
        for _ in 0..instances {
            started.push(Instance::start_with(&world, &clock, &gauge, configure).await);
        }
        Self { world, clock, instances: started, count: 0 }
    }

    async fn get(&self, at: usize, key: Key) -> Served {
        self.instances[at].cache.get(&key.query(), &ReadOptions::default()).await.unwrap()
    }

    /// User 1's strategies change, and what an AI is told of them.
    async fn change(&mut self) {
        self.count += 1;
        self.world.write(Key::One, self.count).await;
        self.world.trade(Key::One, self.count).await;
        let scope = Key::One.scope(Some(Part::Strategy));
        self.instances[0].cache.invalidate(scope, InvalidateOptions::default()).await.unwrap();
        self.look().await;
    }

    /// What every instance does ten times a second.
    async fn look(&self) {
        for instance in &self.instances {
            instance.jobs.poll_invalidation_log().await;
            instance.jobs.prefetch();
        }
    }

    async fn after(&self, time: Duration) {
        move_on(&self.clock, time).await;
        self.look().await;
    }

    async fn stats(&self, at: usize) -> PrefetchStats {
        self.instances[at].cache.stats(0).await.unwrap().prefetch.unwrap()
    }

    async fn ai_calls(&self) -> i64 {
        self.instances[0].cache.stats(0).await.unwrap().ai_calls_made
    }

    async fn comes_to(&self, what: &str, is_so: impl Fn(&PrefetchStats) -> bool) {
        for _ in 0..LOOKS {
            if is_so(&self.stats(0).await) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{what}: {:?}", self.stats(0).await);
    }

    /// Waits for so many runs of the strategy's source at the first instance.
    async fn begun(&self, runs: u64) {
        while self.instances[0].faults.begun(STRATEGY) < runs {
            tokio::task::yield_now().await;
        }
    }

    async fn finished(&self, documents: i64) {
        self.comes_to("a document", |stats| stats.finished == documents).await;
    }

    async fn end(self) {
        for instance in self.instances {
            instance.end().await;
        }
    }
}

/// Whether a document was made from the sources as they were after so many changes.
fn is_new(served: &Served, count: i64) -> bool {
    let document = ComprehensiveUserData::decode(served.snapshot.payload.clone()).unwrap();
    document.strategy_data.unwrap().strategy_name == count.to_string()
}

fn plays(case: impl AsyncFnOnce()) {
    let _alone = Alone::with(None);
    StoppedTime::new().run(case());
}

#[test]
fn changes_that_belong_together_are_dealt_with_once_and_when_they_have_ended() {
    plays(async || {
        let mut case = Case::start(1, |_| {}).await;
        case.get(0, Key::One).await;
        case.change().await;
        case.after(QUIET / 2).await;
        case.change().await;
        case.after(QUIET * 9 / 10).await;
        assert_eq!(case.stats(0).await.started, 0);
        case.after(QUIET / 5).await;
        case.finished(1).await;
        let served = case.get(0, Key::One).await;
        assert_eq!(served.status, CacheStatus::Hit(Tier::Memory));
        assert!(is_new(&served, 2));
        assert_eq!(case.stats(0).await.started, 1);
        case.end().await;
    });
}

#[test]
fn what_somebody_has_loaded_meanwhile_is_not_loaded_again() {
    plays(async || {
        let mut case = Case::start(1, |_| {}).await;
        case.get(0, Key::One).await;
        case.change().await;
        case.get(0, Key::One).await;
        case.after(2 * QUIET).await;
        assert_eq!(case.stats(0).await, PrefetchStats::default());
        case.end().await;
    });
}

#[test]
fn it_ends_where_nobody_reads_and_begins_again_with_a_reader() {
    plays(async || {
        let mut case = Case::start(1, |config| config.prefetch.unread_max = 2).await;
        case.get(0, Key::One).await;
        for round in 1..=4 {
            case.change().await;
            case.after(2 * QUIET).await;
            case.finished(round.min(2)).await;
        }
        let stats = case.stats(0).await;
        assert_eq!((stats.started, stats.read, stats.skipped_unread), (2, 0, 2));
        assert_eq!(case.get(0, Key::One).await.status, CacheStatus::Assembled, "nobody did it for the reader");
        case.change().await;
        case.after(2 * QUIET).await;
        case.finished(3).await;
        assert_eq!(case.get(0, Key::One).await.status, CacheStatus::Hit(Tier::Memory));
        assert_eq!(case.stats(0).await.read, 1);
        case.end().await;
    });
}

#[test]
fn it_is_no_access() {
    plays(async || {
        let mut case = Case::start(1, |_| {}).await;
        case.get(0, Key::One).await;
        case.get(0, Key::One).await;
        case.change().await;
        case.after(2 * QUIET).await;
        case.finished(1).await;
        // The row is written behind it.
        let accesses = async || {
            let instance = &case.instances[0];
            instance.jobs.flush_access_counts().await;
            instance.cache.stats(1).await.unwrap().most_accessed.first().map_or(0, |entry| entry.access_count)
        };
        assert_eq!(accesses().await, 1);
        let requests = case.instances[0].cache.stats(0).await.unwrap().requests;
        assert_eq!(requests, 2);
        case.end().await;
    });
}

#[test]
fn it_waits_while_more_than_half_of_the_permits_are_taken_and_not_for_ever() {
    plays(async || {
        let mut case = Case::start(1, |config| config.loads.max_concurrent = 2).await;
        case.get(0, Key::One).await;
        let faults = case.instances[0].faults.clone();
        for gives_up in [false, true] {
            faults.set(STRATEGY, Place::Before, Some(Mode::Hang));
            let before = case.stats(0).await;
            let (one, other) = (case.instances[0].cache.clone(), case.instances[0].cache.clone());
            let readers = futures::future::join(
                async move { one.refresh(&Key::Two.query(), &ReadOptions::default()).await.unwrap() },
                async move { other.refresh(&Key::Two21.query(), &ReadOptions::default()).await.unwrap() },
            );
            let loads = faults.begun(STRATEGY);
            let readers = TaskTracker::new().spawn(readers);
            case.begun(loads + 2).await;
            case.change().await;
            case.after(2 * QUIET).await;
            assert_eq!(case.stats(0).await, before, "both permits are taken");
            if gives_up {
                case.after(2 * QUIET).await;
                assert_eq!(case.stats(0).await.skipped_busy, 1);
            }
            faults.mend();
            readers.await.unwrap();
            if !gives_up {
                case.look().await;
                case.finished(1).await;
            }
        }
        case.end().await;
    });
}

#[test]
fn it_waits_while_the_log_cannot_be_read_and_not_for_ever() {
    plays(async || {
        let mut case = Case::start(1, |config| config.prefetch.delay_max = 3 * LEASE).await;
        case.get(0, Key::One).await;
        let faults = case.instances[0].faults.clone();
        case.change().await;
        faults.set(FaultPoint::Head, Place::Before, Some(Mode::Fail));
        case.after(2 * LEASE).await;
        assert_eq!(case.stats(0).await, PrefetchStats::default(), "the lease has lapsed");
        faults.mend();
        case.look().await;
        case.finished(1).await;
        case.get(0, Key::One).await;
        case.change().await;
        faults.set(FaultPoint::Head, Place::Before, Some(Mode::Fail));
        case.after(3 * LEASE).await;
        assert_eq!(case.stats(0).await.skipped_failed, 1);
        case.end().await;
    });
}

fn with_ai(ai: &FakeAi, calls_per_hour: u32) -> impl Fn(&mut Config) {
    let base_url = ai.base_url();
    move |config| {
        config.ai.base_url = Some(base_url.clone());
        config.ai.model = "fake".to_owned();
        config.prefetch.ai_calls_per_hour = calls_per_hour;
    }
}

#[test]
fn an_ai_call_is_made_for_nobody_only_within_the_budget_and_for_a_reader_always() {
    plays(async || {
        let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
        let mut case = Case::start(1, with_ai(&ai, 1)).await;
        case.get(0, Key::One).await;
        case.change().await;
        case.after(2 * QUIET).await;
        case.finished(1).await;
        assert_eq!(case.ai_calls().await, 2);
        assert_eq!(case.get(0, Key::One).await.status, CacheStatus::Hit(Tier::Memory));

        case.change().await;
        case.after(2 * QUIET).await;
        case.comes_to("the budget", |stats| stats.skipped_budget == 1).await;
        assert_eq!(case.ai_calls().await, 2);
        let served = case.get(0, Key::One).await;
        assert!(served.snapshot.complete() && is_new(&served, 2), "nothing partial was left behind");
        assert_eq!((served.status, case.ai_calls().await), (CacheStatus::Assembled, 3));

        // An hour later there is another one.
        case.after(Duration::from_secs(3600)).await;
        case.change().await;
        case.after(2 * QUIET).await;
        case.finished(2).await;
        assert_eq!(case.ai_calls().await, 4);
        case.end().await;
    });
}

#[test]
fn whoever_joins_a_load_that_the_budget_ends_is_answered_all_the_same() {
    plays(async || {
        let ai = FakeAi::saying([Say::answer(&valid_answer())]).await;
        let mut case = Case::start(1, with_ai(&ai, 0)).await;
        case.get(0, Key::One).await;
        let faults = case.instances[0].faults.clone();
        faults.set(STRATEGY, Place::Before, Some(Mode::HangOnce));
        let loads = faults.begun(STRATEGY);
        case.change().await;
        case.after(2 * QUIET).await;
        case.begun(loads + 1).await;
        let cache = case.instances[0].cache.clone();
        let reader = TaskTracker::new()
            .spawn(async move { cache.get(&Key::One.query(), &ReadOptions::default()).await.unwrap() });
        // It reaches the load, which goes on only then.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        faults.release(STRATEGY);
        let served = reader.await.unwrap();
        assert!(served.snapshot.complete() && is_new(&served, 1));
        assert_eq!(case.stats(0).await.skipped_budget, 1);
        assert_eq!(case.ai_calls().await, 2);
        case.end().await;
    });
}

#[test]
fn two_instances_read_the_sources_once() {
    plays(async || {
        let mut case = Case::start(2, |_| {}).await;
        for at in [0, 1] {
            case.get(at, Key::One).await;
        }
        let runs = |case: &Case| case.instances.iter().map(|instance| instance.faults.begun(STRATEGY)).sum::<u64>();
        let before = runs(&case);
        case.change().await;
        case.after(QUIET + QUIET / 10).await;
        for at in [0, 1] {
            let mut looks = 0;
            while case.stats(at).await.finished < 1 {
                looks += 1;
                assert!(looks < LOOKS, "{:?}", case.stats(at).await);
                // An instance that waits for the other one's load looks every half a second.
                move_on(&case.clock, QUIET / 10).await;
            }
            let served = case.get(at, Key::One).await;
            assert_eq!(served.status, CacheStatus::Hit(Tier::Memory), "instance {at}");
            assert!(is_new(&served, 1));
        }
        assert_eq!(runs(&case) - before, 1);
        case.end().await;
    });
}
