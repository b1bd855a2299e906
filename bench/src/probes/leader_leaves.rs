//! A: the caller that began a load leaves while 49 others wait for it.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{SLOW, USER, counted};
use testkit::wait_for;

use crate::{field::Library, stand::Stand};

/// A third of the load: enough for 49 calls to arrive, far from the load's end.
const ARRIVAL: Duration = Duration::from_millis(100);

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, SLOW).await;
    let tasks = TaskTracker::new();
    let call = || {
        let node = Arc::clone(stand.node());
        tasks.spawn(async move { node.get(USER).await })
    };
    let leader = call();
    wait_for("the load to begin", async || (stand.loads().await == 1).then_some(())).await;
    let followers: Vec<_> = (0..49).map(|_| call()).collect();
    tokio::time::sleep(ARRIVAL).await;
    leader.abort();
    let mut answered = 0;
    for follower in followers {
        answered += i64::from(follower.await.unwrap().is_ok());
    }
    let cell = format!("{}, {}", counted(stand.loads().await, "load"), counted(answered, "answer"));
    stand.take_down().await;
    cell
}
