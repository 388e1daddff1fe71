//! The contract of [`Bus`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::store::bus::{Bus, BusError, Heard};

const SOON: Duration = Duration::from_secs(10);

/// Runs every rule.
pub(crate) async fn check(bus: Arc<dyn Bus>) {
    publish_and_subscribe(&*bus).await;
    slow_subscribers_are_told_what_they_lost(&*bus).await;
    ask_and_answer(&bus).await;
    questions_without_answer(&bus).await;
}

async fn publish_and_subscribe(bus: &dyn Bus) {
    bus.publish("a", Bytes::from_static(b"nobody hears"));
    assert!(!bus.interested("a"));
    let mut one = bus.subscribe("a");
    let mut two = bus.subscribe("a");
    let mut other = bus.subscribe("b");
    assert!(bus.interested("a"));
    bus.publish("a", Bytes::from_static(b"1"));
    bus.publish("b", Bytes::from_static(b"2"));
    assert_eq!(one.next().await, Some(Heard::Message(Bytes::from_static(b"1"))));
    assert_eq!(two.next().await, Some(Heard::Message(Bytes::from_static(b"1"))));
    assert_eq!(other.next().await, Some(Heard::Message(Bytes::from_static(b"2"))));
    drop((one, two));
    assert!(!bus.interested("a"));
}

async fn slow_subscribers_are_told_what_they_lost(bus: &dyn Bus) {
    let mut slow = bus.subscribe("flood");
    for n in 0..100_000u32 {
        bus.publish("flood", Bytes::copy_from_slice(&n.to_be_bytes()));
    }
    let Some(Heard::Lost(lost)) = slow.next().await else {
        panic!("the loss comes first")
    };
    let next = Bytes::copy_from_slice(&u32::try_from(lost).unwrap().to_be_bytes());
    assert_eq!(slow.next().await, Some(Heard::Message(next)));
}

async fn ask_and_answer(bus: &Arc<dyn Bus>) {
    let mut questions = bus.serve("server");
    let asking = tokio::spawn({
        let bus = Arc::clone(bus);
        async move { bus.ask("server", Bytes::from_static(b"restart"), SOON).await }
    });
    let question = questions.recv().await.unwrap();
    assert_eq!(question.message, Bytes::from_static(b"restart"));
    question.reply.send(Bytes::from_static(b"done")).unwrap();
    assert_eq!(asking.await.unwrap(), Ok(Bytes::from_static(b"done")));

    let mut newer = bus.serve("server");
    let asking = tokio::spawn({
        let bus = Arc::clone(bus);
        async move { bus.ask("server", Bytes::new(), SOON).await }
    });
    drop(newer.recv().await.unwrap());
    assert_eq!(asking.await.unwrap(), Err(BusError::Gone));
}

async fn questions_without_answer(bus: &Arc<dyn Bus>) {
    assert_eq!(bus.ask("void", Bytes::new(), SOON).await, Err(BusError::Nobody));
    let questions = bus.serve("deaf");
    assert_eq!(
        bus.ask("deaf", Bytes::new(), Duration::from_millis(5)).await,
        Err(BusError::Timeout)
    );
    let mut refused = None;
    for _ in 0..10_000 {
        refused = bus.ask("deaf", Bytes::new(), Duration::ZERO).await.err();
        if refused == Some(BusError::Busy) {
            break;
        }
    }
    assert_eq!(
        refused,
        Some(BusError::Busy),
        "questions do not pile up without end"
    );
    drop(questions);
    assert_eq!(bus.ask("deaf", Bytes::new(), SOON).await, Err(BusError::Nobody));
}
