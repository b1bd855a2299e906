//! C: all callers request a document that cannot be loaded, and one of them repeats its call.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{QUICK, USER, counted};
use crate::{field::Library, stand::Stand};

/// The duration of the repeated calls, and the pause between two.
const GOES_ON: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(20);

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, QUICK).await;
    stand.fail().await;
    let node = stand.node();
    let answers = join_all((0..50).map(|_| node.get(USER))).await;
    assert!(answers.iter().all(Result::is_err), "every call fails");
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
