//! D: no caller waits as long as the load takes, but at every moment one waits.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::{SLOW, USER, counted};
use crate::{field::Library, stand::Stand};

const CLIENTS: u32 = 40;
const PATIENCE: Duration = Duration::from_millis(200);
/// From one client to the next. The first two give up (at 200 and 275 ms) before a load of 300 ms can
/// have ended, the third would wait until 350 ms.
const APART: Duration = Duration::from_millis(75);

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 1, SLOW).await;
    let node = stand.node();
    let clients = (0..CLIENTS).map(|place| async move {
        sleep(APART * place).await;
        matches!(timeout(PATIENCE, node.get(USER)).await, Ok(Ok(_)))
    });
    let answered = join_all(clients).await.into_iter().filter(|answered| *answered).count();
    let cell = format!("{answered} of {CLIENTS} answered, {}", counted(stand.loads().await, "load"));
    stand.take_down().await;
    cell
}
