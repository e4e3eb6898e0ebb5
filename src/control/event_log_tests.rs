use tokio::time::{Duration, timeout};

use super::*;

fn warning(message: &str) -> Event {
    Event::Warning {
        message: message.to_owned(),
    }
}

fn numbers(events: &[Stored]) -> Vec<u64> {
    events.iter().map(|stored| stored.seq).collect()
}

async fn next(subscription: &mut Subscription) -> Option<Batch> {
    timeout(Duration::from_secs(10), subscription.next())
        .await
        .expect("bounded")
}

#[test]
fn events_are_numbered_and_the_oldest_forgotten() {
    let log = EventLog::new();
    for n in 1..=EVENTS_MAX as u64 + 10 {
        assert_eq!(log.push(&warning("x")).seq, n);
    }
    let kept = numbers(&log.after(0));
    assert_eq!((kept.len(), kept[0]), (EVENTS_MAX, 11));
    assert_eq!(numbers(&log.after(EVENTS_MAX as u64 + 8)), [1033, 1034]);
    assert!(log.after(u64::MAX).is_empty());
}

#[test]
fn large_events_do_not_add_up() {
    let log = EventLog::new();
    for _ in 0..100 {
        log.push(&warning(&"x".repeat(BYTES_MAX / 4)));
    }
    assert_eq!(log.after(0).len(), 3);
    log.push(&warning(&"x".repeat(BYTES_MAX * 2)));
    assert_eq!(numbers(&log.after(0)), [101], "the newest is always kept");
}

#[tokio::test]
async fn a_follower_gets_what_is_there_and_what_comes() {
    let log = EventLog::new();
    log.push(&warning("a"));
    log.push(&warning("b"));
    let mut follower = log.subscribe(1);
    assert_eq!(
        numbers(&next(&mut follower).await.expect("there").events),
        [2]
    );
    let waiting = tokio::spawn(async move { next(&mut follower).await.expect("comes").events });
    tokio::task::yield_now().await;
    log.push(&warning("c"));
    assert_eq!(numbers(&waiting.await.expect("followed")), [3]);
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed() {
    let log = EventLog::new();
    let mut follower = log.subscribe(0);
    for _ in 0..EVENTS_MAX + 5 {
        log.push(&warning("x"));
    }
    let first = next(&mut follower).await.expect("events");
    assert_eq!(first.gap, Some((1, 5)));
    assert_eq!((first.events[0].seq, first.events.len()), (6, BATCH_MAX));
    let second = next(&mut follower).await.expect("more");
    assert_eq!(
        (second.gap, second.events[0].seq),
        (None, 6 + BATCH_MAX as u64)
    );
}

#[tokio::test]
async fn a_follower_of_another_master_gets_all_of_this_one() {
    let log = EventLog::new();
    log.push(&warning("a"));
    let mut follower = log.subscribe(900);
    let batch = next(&mut follower).await.expect("all");
    assert_eq!((batch.gap, numbers(&batch.events)), (None, vec![1]));
    log.push(&warning("b"));
    assert_eq!(numbers(&next(&mut follower).await.expect("on").events), [2]);
}

#[tokio::test]
async fn closing_ends_followers_after_the_last_event() {
    let log = EventLog::continuing_after(41);
    let mut follower = log.subscribe(log.last());
    assert_eq!(log.push(&warning("last words")).seq, 42);
    log.close();
    log.closed().await;
    assert_eq!(
        numbers(&next(&mut follower).await.expect("told").events),
        [42]
    );
    assert!(next(&mut follower).await.is_none());
}
