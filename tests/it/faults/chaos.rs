//! What breaks: one thing every 2 to 4 seconds, sometimes two, all kinds before any comes again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sea_orm::ConnectionTrait;
use tokio::time::Instant;
use userdata::changes;

use super::{
    figures::Totals,
    ground::{Ground, INSTANCES},
    timeline::{Part, Place, Timeline},
};
use testkit::proxy::{Network, Proxy};

/// Whose lines.
#[derive(Clone, Copy, Debug)]
enum Whose {
    One(usize),
    All,
}

/// Which lines.
#[derive(Clone, Copy, Debug)]
enum Which {
    Redis,
    Database,
    Both,
    Outbox,
}

/// One thing that breaks.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// An instance is killed, and started again.
    Kill(usize),
    /// An instance stands still.
    Stop(usize),
    Line(Which, Whose, Network),
    Reset(Which, usize),
    /// Redis loses everything.
    Flush,
    /// Redis stands still.
    Freeze,
    /// Redis is killed, and comes back with what it held some time ago.
    KillRedis,
    /// The cache's PostgreSQL crashes, and replays its log.
    KillDatabase,
    /// The triggers on the table that is written are switched off, and installed again.
    DisableTriggers,
}

/// Breaks things until told to stop, then mends everything.
pub(super) async fn rage(ground: &mut Ground, timeline: &Timeline, totals: &Totals, seed: u64, calm: &AtomicBool) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut deck = Vec::new();
    assert_eq!(ground.redis.command("SAVE").await, "+OK");
    while !calm.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..1 + usize::from(random.random_bool(0.25)) {
            if deck.is_empty() {
                deck = all(&mut random);
            }
            // Two things that concern the same part would be one.
            if let Some(next) = deck.pop_if(|next| !faults.iter().any(|fault| fault.meets(*next))) {
                faults.push(next);
            }
        }
        for fault in &faults {
            timeline.begins(&format!("{fault:?}"), fault.is_away(), &fault.places());
            fault.begin(ground).await;
            totals.with(|figures| figures.faults += 1);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(400..2000))).await;
        for fault in faults.iter().rev() {
            fault.end(ground).await;
            timeline.ended(&format!("{fault:?}"), &fault.places());
        }
        tokio::time::sleep_until(began + Duration::from_millis(random.random_range(2000..4000))).await;
    }
}

/// Every kind, in any order.
fn all(random: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut deck = vec![Fault::Flush, Fault::Freeze, Fault::KillRedis, Fault::KillRedis, Fault::KillDatabase];
    deck.push(Fault::DisableTriggers);
    for instance in 0..INSTANCES {
        deck.extend([Fault::Kill(instance), Fault::Stop(instance)]);
    }
    for which in [Which::Redis, Which::Database] {
        for network in [
            Network::Refuse,
            Network::Blackhole,
            Network::SwallowReplies,
            Network::SwallowRequests,
            Network::Stall,
            Network::Delay(Duration::from_millis(random.random_range(20..300))),
            Network::Slice,
            Network::Garbage,
        ] {
            deck.push(Fault::Line(which, Whose::One(random.random_range(0..INSTANCES)), network));
        }
        deck.push(Fault::Line(which, Whose::All, Network::Blackhole));
        deck.push(Fault::Reset(which, random.random_range(0..INSTANCES)));
    }
    for network in [Network::Refuse, Network::Blackhole, Network::Stall] {
        deck.push(Fault::Line(Which::Both, Whose::One(random.random_range(0..INSTANCES)), network));
        deck.push(Fault::Line(Which::Outbox, Whose::One(random.random_range(0..INSTANCES)), network));
        deck.push(Fault::Line(Which::Outbox, Whose::All, network));
    }
    deck.shuffle(random);
    deck
}

impl Fault {
    async fn begin(self, ground: &mut Ground) {
        match self {
            Self::Kill(instance) => ground.kill(instance).await,
            Self::Stop(instance) => ground.servers[instance].signal("STOP"),
            Self::Line(which, whose, network) => lines(ground, which, whose).for_each(|line| line.set(network)),
            Self::Reset(which, instance) => lines(ground, which, Whose::One(instance)).for_each(Proxy::reset),
            Self::Flush => assert_eq!(ground.redis.command("FLUSHALL").await, "+OK"),
            Self::Freeze => ground.redis.freeze(),
            Self::KillRedis => ground.redis.kill().await,
            Self::KillDatabase => ground.postgres.kill().await,
            Self::DisableTriggers => {
                let disable = "ALTER TABLE enhanced_content_strategies DISABLE TRIGGER USER";
                ground.sources.execute_unprepared(disable).await.unwrap();
            }
        }
    }

    async fn end(self, ground: &mut Ground) {
        match self {
            Self::Kill(instance) => ground.servers[instance].start().await,
            Self::Stop(instance) => ground.servers[instance].signal("CONT"),
            Self::Line(which, whose, _) => lines(ground, which, whose).for_each(Proxy::restore),
            Self::Reset(..) | Self::Flush => {}
            Self::Freeze => ground.redis.thaw(),
            Self::KillRedis => {
                ground.redis.start().await;
                // What the next one comes back with.
                assert_eq!(ground.redis.command("SAVE").await, "+OK");
            }
            Self::KillDatabase => ground.postgres.start().await,
            Self::DisableTriggers => drop(changes::install(&ground.sources).await.unwrap()),
        }
    }

    fn places(self) -> Vec<Place> {
        let all = |part| (0..INSTANCES).map(|instance| (part, instance)).collect();
        match self {
            Self::Kill(instance) | Self::Stop(instance) => vec![(Part::Process, instance)],
            Self::Line(which, Whose::One(instance), _) | Self::Reset(which, instance) => which.of(instance),
            Self::Line(which, Whose::All, _) => (0..INSTANCES).flat_map(|instance| which.of(instance)).collect(),
            // Notifications do not go through Redis' keys.
            Self::Flush => vec![],
            Self::Freeze | Self::KillRedis => all(Part::Redis),
            Self::KillDatabase => all(Part::Database),
            Self::DisableTriggers => all(Part::Outbox),
        }
    }

    /// Whether notifications, or the log, cannot get through at all.
    fn is_away(self) -> bool {
        match self {
            Self::Line(_, _, network) => matches!(network, Network::Refuse | Network::Blackhole | Network::Stall),
            Self::Reset(..) | Self::Flush => false,
            _ => true,
        }
    }

    fn meets(self, other: Self) -> bool {
        self.places().iter().any(|place| other.places().contains(place))
            // It is alone with Redis' process.
            || matches!((self, other), (Self::Flush, Self::Freeze | Self::KillRedis) | (Self::Freeze | Self::KillRedis, Self::Flush))
    }
}

impl Which {
    fn of(self, instance: usize) -> Vec<Place> {
        match self {
            Self::Redis => vec![(Part::Redis, instance)],
            Self::Database => vec![(Part::Database, instance)],
            Self::Outbox => vec![(Part::Outbox, instance)],
            Self::Both => vec![(Part::Redis, instance), (Part::Database, instance)],
        }
    }
}

fn lines(ground: &Ground, which: Which, whose: Whose) -> impl Iterator<Item = &Proxy> {
    let of_instances = match whose {
        Whose::One(instance) => &ground.lines[instance..=instance],
        Whose::All => &ground.lines[..],
    };
    of_instances.iter().flat_map(move |lines| {
        let redis = matches!(which, Which::Redis | Which::Both).then_some(lines.redis.as_ref());
        let database = matches!(which, Which::Database | Which::Both).then_some(lines.database.as_ref());
        let outbox = matches!(which, Which::Outbox).then_some(lines.outbox.as_ref());
        [redis, database, outbox].into_iter().flatten().flatten()
    })
}
