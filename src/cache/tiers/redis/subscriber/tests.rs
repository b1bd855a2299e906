//! The subscription against a real Redis: bursts, lost connections, and one that swallows everything.

use servers::{
    proxy::Proxy,
    redis::{Redis, redis},
};

use super::*;
use crate::{
    cache::{testing::eventually, tiers::redis::RedisTier},
    clock::Clock,
    config::Secret,
};

fn config(url: String) -> config::RedisSettings {
    config::RedisSettings { url: Some(Secret::new(url)), ..config::RedisSettings::default() }
}

/// A tier that publishes directly, and a subscriber.
async fn connected(server: &Redis, url: String) -> (RedisTier, Subscriber) {
    // Thousands are published one after the other, and a busy machine holds one of them up.
    let patient = config::RedisSettings { timeout: Duration::from_secs(5), ..config(server.url()) };
    let tier = RedisTier::connect(&patient, Clock::system()).await.unwrap();
    assert!(tier.connected_within(Duration::from_secs(10)).await);
    let mut subscriber = Subscriber::connect(&config(url)).await.unwrap();
    assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Gap), "it has missed what came before");
    (tier, subscriber)
}

async fn heard(subscriber: &mut Subscriber) -> SubscriberEvent {
    tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await.expect("nothing is heard")
}

async fn publish(tier: &RedisTier, messages: impl IntoIterator<Item = u32>) {
    for message in messages {
        tier.publish(message.to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn a_burst_is_heard_at_once() {
    let server = redis().await;
    let (tier, mut subscriber) = connected(&server, server.url()).await;
    publish(&tier, 1..=100).await;
    eventually("all have come", || async { subscriber.messages.len() == 100 }).await;
    let SubscriberEvent::Messages(texts) = heard(&mut subscriber).await else { panic!("nothing was lost") };
    assert_eq!(texts, (1..=100).map(|message| message.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_lags_behind_knows_it_and_goes_on() {
    let server = redis().await;
    let (tier, mut subscriber) = connected(&server, server.url()).await;
    publish(&tier, 0..5000).await;
    eventually("more have come than are kept", || async { subscriber.messages.len() == 5000 }).await;
    assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Gap));
    assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Messages(kept) if kept.last().unwrap() == "4999"));
    publish(&tier, [5000]).await;
    assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Messages(texts) if texts == ["5000"]));
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_heard_as_a_gap() {
    let mut server = redis().await;
    let proxy = Proxy::before(server.port).await;
    let (tier, mut subscriber) = connected(&server, format!("redis://{}", proxy.address)).await;
    for lost in ["cut", "swallowed", "gone"] {
        match lost {
            "cut" => server.until("client kill type pubsub", "1").await,
            "swallowed" => proxy.silence(),
            _ => {
                server.kill().await;
                server.start().await;
            }
        }
        assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Gap), "{lost}");
        eventually("it can be published again", || async { tier.publish(lost.to_owned()).await.is_ok() }).await;
        assert!(matches!(heard(&mut subscriber).await, SubscriberEvent::Messages(texts) if texts == [lost]), "{lost}");
    }
}
