//! G: four instances get a request for the same cold key at once.

use futures::future::join_all;

use super::{SLOW, USER, counted};
use crate::{field::Library, stand::Stand};

pub(crate) async fn run(library: Library) -> String {
    let stand = Stand::set_up(library, 4, SLOW).await;
    let answers = join_all(stand.nodes.iter().map(|node| node.get(USER))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let cell = counted(stand.loads().await, "load");
    stand.take_down().await;
    cell
}
