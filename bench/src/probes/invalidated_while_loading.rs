//! B: an announced change outdates a load before it ends.

use futures::future::join;

use super::{SLOW, USER};
use testkit::wait_for;

use crate::{field::Library, stand::Stand};

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, SLOW).await;
    let node = stand.node();
    let after = async {
        wait_for("the load to begin", async || (stand.loads().await == 1).then_some(())).await;
        // The load has to have read already; userdata's database tells.
        tokio::time::sleep(SLOW / 6).await;
        stand.write(1).await;
        node.invalidate(USER).await;
        node.get(USER).await
    };
    let (before, at_once) = join(node.get(USER), after).await;
    assert_eq!(before.unwrap(), 0, "the call came before the change");
    let later = node.get(USER).await;
    let judged = [at_once, later].map(|answer| if answer.unwrap() == 1 { "fresh" } else { "stale" });
    stand.take_down().await;
    judged.join(", ")
}
