//! The leases themselves, on both databases: who gets one, who keeps it, and what is left of it.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection,
    sea_query::{Expr, ExprTrait},
};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use userdata::{
    clock::Clock,
    config::LoadLeaseSettings,
    lease::{Claim, LeaseWatch, Leases, SharedWork, WaitOutcome},
};
use userdata_migrations::{Tables, up};

use testkit::{
    database::{BOTH, Kind, TestDatabase, database},
    sources::count,
    wait_for,
};

/// For one asking: a busy machine is not what is tested.
const LIMIT: Duration = Duration::from_secs(20);

/// The leases of one instance, whose clock the test moves.
struct Instance {
    leases: Leases,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

async fn instances<const N: usize>(kind: Kind) -> (TestDatabase, DatabaseConnection, [Instance; N]) {
    let database = database(kind).await;
    let db = database.connect().await;
    up(&db, Tables::Cache).await.unwrap();
    let instance = |_| {
        let (clock, tasks, stop) = (Clock::system(), TaskTracker::new(), CancellationToken::new());
        let config = LoadLeaseSettings { poll: Duration::from_millis(5), ..LoadLeaseSettings::default() };
        let leases = Leases::new(db.clone().into(), &config, LIMIT, clock.clone(), tasks.clone(), stop.clone());
        Instance { leases, clock, tasks, stop }
    };
    (database, db.clone(), std::array::from_fn(instance))
}

fn work(read_position: i64, last_invalidation: i64) -> SharedWork {
    SharedWork { key: "k".to_owned(), read_position, last_invalidation, done: Expr::cust("1 = 0") }
}

impl Instance {
    async fn take(&self, work: &SharedWork) -> Claim {
        self.leases.claim(work, None, LIMIT).await
    }

    async fn is_told(&self, work: &SharedWork) -> LeaseWatch {
        match self.take(work).await {
            Claim::Theirs(watch) => watch,
            turn => panic!("somebody else has it, but: {turn:?}"),
        }
    }

    async fn wait(&self, watch: LeaseWatch, last_invalidation: i64) -> WaitOutcome {
        self.leases.wait(watch, self.clock.now().after(LIMIT), || last_invalidation).await
    }

    /// Waits until what was given back is given back.
    async fn ends(&self) {
        self.tasks.close();
        tokio::time::timeout(LIMIT, self.tasks.wait()).await.unwrap();
    }
}

async fn leases(db: &DatabaseConnection) -> i64 {
    count(db, "SELECT COUNT(*) FROM load_lease").await
}

#[tokio::test]
async fn one_of_many_gets_a_lease_and_the_next_one_when_it_is_given_back() {
    for kind in BOTH {
        let (_database, db, [a, b]) = instances(kind).await;
        let Claim::Ours(lease) = a.take(&work(7, 3)).await else { panic!("{kind:?}: nobody has it") };
        assert!(!lease.done, "{kind:?}");
        let watch = b.is_told(&work(9, 7)).await;
        let (seen, ()) = tokio::join!(b.wait(watch, 7), async { drop(lease) });
        assert!(matches!(seen, WaitOutcome::Released), "{kind:?}: {seen:?}");
        a.ends().await;
        assert_eq!(leases(&db).await, 0, "{kind:?}");
        assert!(matches!(b.take(&work(9, 7)).await, Claim::Ours(_)), "{kind:?}");
        b.ends().await;
    }
}

#[tokio::test]
async fn work_that_read_before_the_last_invalidation_is_taken_away_and_its_holder_cannot_give_back_what_it_lost() {
    for kind in BOTH {
        let (_database, db, [a, b]) = instances(kind).await;
        let Claim::Ours(old) = a.take(&work(7, 3)).await else { panic!("{kind:?}: nobody has it") };
        let Claim::Ours(new) = b.take(&work(9, 8)).await else { panic!("{kind:?}: the old one is outdated") };
        old.end(json!("late"), LIMIT);
        a.ends().await;
        assert_eq!(leases(&db).await, 1, "{kind:?}: the new one");
        assert_eq!(count(&db, "SELECT read_position FROM load_lease WHERE outcome IS NULL").await, 9, "{kind:?}");
        drop(new);
        b.ends().await;
        assert_eq!(leases(&db).await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn a_heartbeat_that_stops_is_taken_over_by_one_and_one_that_moves_by_none() {
    for kind in BOTH {
        let (_database, db, [a, b]) = instances(kind).await;
        // Left by an instance that is gone.
        db.execute_unprepared(
            "INSERT INTO load_lease (key, holder, read_position, heartbeat) VALUES ('k', 'gone', 7, 3)",
        )
        .await
        .unwrap();
        let (work, still) = (work(9, 7), LoadLeaseSettings::default().takeover);
        let stands_still = async |instance: &Instance| {
            let watch = instance.is_told(&work).await;
            instance.clock.advance(still);
            match instance.wait(watch, 7).await {
                WaitOutcome::Expired(watch) => Some(watch),
                seen => panic!("{kind:?}: it stands still, but: {seen:?}"),
            }
        };
        let over = stands_still(&a).await;
        db.execute_unprepared("UPDATE load_lease SET heartbeat = 4").await.unwrap();
        assert!(matches!(a.leases.claim(&work, over, LIMIT).await, Claim::Theirs(_)), "{kind:?}: it moved");

        let (of_a, of_b) = (stands_still(&a).await, stands_still(&b).await);
        let Claim::Ours(lease) = a.leases.claim(&work, of_a, LIMIT).await else { panic!("{kind:?}: it is over") };
        assert!(matches!(b.leases.claim(&work, of_b, LIMIT).await, Claim::Theirs(_)), "{kind:?}: one only");
        drop(lease);
        a.ends().await;
    }
}

#[tokio::test]
async fn a_holder_that_is_alive_sends_heartbeats() {
    for kind in BOTH {
        let (_database, db, [a]) = instances(kind).await;
        let Claim::Ours(_lease) = a.take(&work(7, 3)).await else { panic!("{kind:?}: nobody has it") };
        wait_for("a heartbeat", async || (count(&db, "SELECT heartbeat FROM load_lease").await > 0).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn an_outcome_is_shared_and_goes_with_its_holder() {
    for kind in BOTH {
        let (_database, db, [a, b]) = instances(kind).await;
        let Claim::Ours(lease) = a.take(&work(7, 3)).await else { panic!("{kind:?}: nobody has it") };
        lease.end(json!({ "kind": "why" }), LIMIT);
        let watch = b.is_told(&work(9, 7)).await;
        let seen = b.wait(watch, 7).await;
        let WaitOutcome::Ended { outcome, watch } = seen else { panic!("{kind:?}: {seen:?}") };
        assert_eq!(outcome, json!({ "kind": "why" }), "{kind:?}");
        // Of no use to a caller who knows a newer invalidation.
        assert!(matches!(b.wait(watch, 8).await, WaitOutcome::Released), "{kind:?}");
        a.stop.cancel();
        a.ends().await;
        assert_eq!(leases(&db).await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_done_already_is_noticed_when_the_lease_is_taken() {
    for kind in BOTH {
        let (_database, _db, [a]) = instances(kind).await;
        for (key, done) in [("k", false), ("l", true)] {
            let check = Expr::val(key).eq("l");
            let work = SharedWork { key: key.to_owned(), read_position: 9, last_invalidation: 7, done: check };
            let Claim::Ours(lease) = a.take(&work).await else { panic!("{kind:?}: nobody has it") };
            assert_eq!(lease.done, done, "{kind:?} {key}");
        }
        a.ends().await;
    }
}

#[tokio::test]
async fn only_leases_that_have_long_stood_still_are_swept() {
    for kind in BOTH {
        let (_database, db, [a]) = instances(kind).await;
        for key in ["dead", "alive"] {
            let sql =
                format!("INSERT INTO load_lease (key, holder, read_position, heartbeat) VALUES ('{key}', 'h', 7, 3)");
            db.execute_unprepared(&sql).await.unwrap();
        }
        assert_eq!(a.leases.sweep(100).await.unwrap(), 0, "{kind:?}: seen for the first time");
        assert_eq!(a.leases.sweep(100).await.unwrap(), 0, "{kind:?}: seen a moment ago");
        a.clock.advance(Duration::from_secs(60));
        db.execute_unprepared("UPDATE load_lease SET heartbeat = 4 WHERE key = 'alive'").await.unwrap();
        assert_eq!(a.leases.sweep(100).await.unwrap(), 1, "{kind:?}");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM load_lease WHERE key = 'alive'").await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn with_a_load_the_ai_call_of_its_dead_holder_is_taken_over() {
    for kind in BOTH {
        let (_database, db, [a, alive]) = instances(kind).await;
        let ai = SharedWork { key: "ai:1".to_owned(), ..work(0, 0) };
        let Claim::Ours(_kept) = alive.take(&ai).await else { panic!("{kind:?}: it is free") };
        for key in ["k", "ai:2", "another load"] {
            let sql = format!(
                "INSERT INTO load_lease (key, holder, instance, read_position, heartbeat) VALUES ('{key}', '{key}', 'gone', 7, 3)"
            );
            db.execute_unprepared(&sql).await.unwrap();
        }
        let work = work(9, 7);
        let watch = a.is_told(&work).await;
        a.clock.advance(LoadLeaseSettings::default().takeover);
        let WaitOutcome::Expired(over) = a.wait(watch, 7).await else { panic!("{kind:?}: it stands still") };
        let Claim::Ours(_lease) = a.leases.claim(&work, Some(over), LIMIT).await else {
            panic!("{kind:?}: it is over")
        };
        assert_eq!(count(&db, "SELECT COUNT(*) FROM load_lease WHERE key = 'ai:2'").await, 0, "{kind:?}");
        assert_eq!(leases(&db).await, 3, "{kind:?}: the taken one, another load, and a call of another instance");
    }
}

#[tokio::test]
async fn a_restarted_instance_gives_back_what_its_predecessor_held() {
    for kind in BOTH {
        let (_database, db, [before, elsewhere]) = instances(kind).await;
        let at = |instance: Instance, place: &str| Instance { leases: instance.leases.at(place), ..instance };
        let (before, elsewhere) = (at(before, "host 1:1"), at(elsewhere, "host 1:2"));
        let of = |key: &str| SharedWork { key: key.to_owned(), ..work(0, 0) };
        let (Claim::Ours(killed), Claim::Ours(_kept)) = (before.take(&of("a")).await, elsewhere.take(&of("b")).await)
        else {
            panic!("{kind:?}: they are free")
        };
        std::mem::forget(killed);
        let config = LoadLeaseSettings::default();
        let after = Leases::new(
            db.clone().into(),
            &config,
            LIMIT,
            Clock::system(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        let after = after.at("host 1:1");
        assert_eq!(after.release_predecessors().await.unwrap(), 1, "{kind:?}");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM load_lease WHERE key = 'b'").await, 1, "{kind:?}");
        let Claim::Ours(_own) = after.claim(&of("a"), None, LIMIT).await else { panic!("{kind:?}: it is free") };
        assert_eq!(after.release_predecessors().await.unwrap(), 0, "{kind:?}: not its own");
    }
}
