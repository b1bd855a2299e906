//! C: everybody asks for what cannot be loaded, and somebody does not stop.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{QUICK, USER, counted};
use crate::{field::Library, stand::Stand};

/// How long the one goes on, and how long it waits between two calls.
const GOES_ON: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(20);

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, QUICK).await;
    stand.fail().await;
    let node = stand.node();
    let answers = join_all((0..50).map(|_| node.get(USER))).await;
    assert!(answers.iter().all(Result::is_err), "nothing is made up");
    let at_first = stand.loads().await;
    let began = Instant::now();
    while began.elapsed() < GOES_ON {
        node.get(USER).await.unwrap_err();
        tokio::time::sleep(BETWEEN).await;
    }
    let cell = format!("{}, then {} in 1 s", counted(at_first, "load"), stand.loads().await - at_first);
    stand.take_down().await;
    cell
}
