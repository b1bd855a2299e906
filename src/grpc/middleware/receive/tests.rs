//! A message is received in any number of frames, refused if it is none, and awaited until its deadline at most.

use std::{
    collections::VecDeque,
    future::{pending, ready},
};

use futures::{StreamExt as _, stream};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::grpc::{
    answer::Content,
    method::Method,
    testing::{self, TestBody},
};

const ARRIVAL_MAX: Duration = Duration::from_secs(10);

/// The message as the service below gets it, or why it gets none.
async fn received(method: Method, body: TestBody, deadline: Option<Duration>) -> Result<Bytes, Refusal> {
    let layer =
        ReceiveLayer { bytes_max: 10, arrival_max: ARRIVAL_MAX, slots: slots(10, 1), health_slots: slots(10, 1) };
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |call: Call<TestBody>| {
        let Message::Whole(bytes) = call.message else { panic!("a whole message") };
        sender.send(bytes).unwrap();
        ready(Ok::<_, Infallible>(Answer::from(Refusal::NotGrpc)))
    });
    let mut call = testing::call_with(method, &[], body);
    call.deadline = deadline.map(|deadline| Instant::now() + deadline);
    let Ok(answer) = layer.layer(service).oneshot(call).await;
    receiver.try_recv().map_err(|_| match answer.content {
        Content::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    })
}

fn frames(frames: &[&'static [u8]]) -> TestBody {
    testing::body(stream::iter(frames.iter().map(|frame| Bytes::from_static(frame)).collect::<VecDeque<_>>()))
}

#[tokio::test]
async fn a_message_is_whole_in_however_many_frames_it_comes() {
    let whole: &[&[u8]] = &[&[0, 0, 0, 0, 2, 7, 8]];
    let cut: &[&[u8]] = &[&[0, 0], &[0, 0], &[2, 7], &[], &[8], &[]];
    for of in [whole, cut] {
        assert_eq!(received(Method::Get, frames(of), None).await.unwrap(), &[0, 0, 0, 0, 2, 7, 8][..], "{of:?}");
        let later = testing::body(stream::iter(of.to_vec()).then(async |frame| {
            tokio::task::yield_now().await;
            Bytes::from_static(frame)
        }));
        assert_eq!(received(Method::Stats, later, None).await.unwrap(), &[0, 0, 0, 0, 2, 7, 8][..], "{of:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_one_message_are_refused_as_soon_as_that_is_known() {
    let refused: [(&str, &[&[u8]]); 2] = [("half a prefix", &[&[0, 0]]), ("a message cut", &[&[0, 0, 0, 0, 2, 7]])];
    for (case, of) in refused {
        assert!(matches!(received(Method::Warm, frames(of), None).await, Err(Refusal::Unreadable)), "{case}");
    }
    let not_one: [(&str, &[&[u8]]); 3] = [
        ("nothing", &[]),
        ("a byte behind it", &[&[0, 0, 0, 0, 1, 7, 0]]),
        ("a second message", &[&[0, 0, 0, 0, 1, 7], &[0, 0, 0, 0, 1, 7]]),
    ];
    for (case, of) in not_one {
        assert!(matches!(received(Method::Warm, frames(of), None).await, Err(Refusal::NotOneMessage)), "{case}");
    }
    let endless = testing::body(stream::iter([Bytes::from_static(&[0, 0, 0, 1, 0])]).chain(stream::pending()));
    let refusal = received(Method::Get, endless, None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::MessageTooLarge { bytes: 256, bytes_max: 10 }), "{refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_waited_for_until_its_time_or_the_deadline() {
    for (deadline, expected) in [(None, ARRIVAL_MAX), (Some(ARRIVAL_MAX / 2), ARRIVAL_MAX / 2)] {
        let began = Instant::now();
        let never = testing::body(stream::once(pending()));
        let refusal = received(Method::Get, never, deadline).await.unwrap_err();
        assert!(matches!(refusal, Refusal::DeadlineExceeded), "{refusal:?}");
        let took = began.elapsed();
        assert!((expected..expected + Duration::from_millis(2)).contains(&took), "{took:?}");
    }
}
