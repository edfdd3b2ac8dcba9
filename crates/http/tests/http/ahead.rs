//! Requests that are sent before they are asked for.

use std::{sync::Arc, time::Duration};

use charging_sessions_core::ErrorKind;
use charging_sessions_http::{Bytes, Client, Policy, Quota, Request, http::Method};
use tokio::time::{Instant, advance, sleep};

use crate::script::{SECOND, Script, body, client, get_path, list, ok, status};

fn page(client: &Client, number: usize) -> Request {
    client.get(&format!("pages/{number}"), &[]).unwrap()
}

fn expect(client: &Client, numbers: impl IntoIterator<Item = usize>) {
    client.expect("pages", numbers.into_iter().map(|number| Ok(page(client, number))));
}

async fn read(client: &Client, number: usize) -> Result<Vec<u8>, ErrorKind> {
    client.send(page(client, number), list).await.map_err(|error| error.kind())
}

/// Lets what was spawned run until it waits.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Each page is asked for once, however fast or slow.
async fn walk(script: &Arc<Script>, policy: Policy, pages: usize) -> Duration {
    let client = client(script, policy);
    let began = Instant::now();
    for number in 0..pages {
        read(&client, number).await.unwrap();
        expect(&client, number + 1..pages);
    }
    assert_eq!(script.calls().len(), pages);
    assert!((0..pages).all(|number| script.count(&format!("/pages/{number}")) == 1));
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_as_fast_as_may_be_in_flight() {
    for concurrency in [1, 4, 16] {
        let script = Script::new(|_, _| ok().after(SECOND));
        let took = walk(&script, Policy::default().with_concurrency(concurrency), 97).await;
        assert_eq!(script.most_in_flight(), concurrency);
        // The first page comes alone.
        assert_eq!(took, SECOND * (1 + 96_u32.div_ceil(concurrency as u32)), "{concurrency}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_quota_holds_for_what_is_sent_ahead() {
    let script = Script::new(|_, _| ok().after(Duration::from_millis(10)));
    let policy = Policy::default().with_quota(Some(Quota::new(5, SECOND * 10)));
    walk(&script, policy, 33).await;
    let times = script.times();
    assert!(times.windows(6).all(|six| six[5] - six[0] >= 10_000), "{times:?}");
    // In bursts: whatever may be sent is sent at once.
    assert!(times.chunks(5).all(|five| five[five.len() - 1] - five[0] < 100), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_expected_any_more_is_given_up() {
    let script = Script::new(|_, _| ok().after(SECOND));
    let client = client(&script, Policy::default());
    expect(&client, [1, 2]);
    client.expect("others", [client.get("others/1", &[])]);
    settle().await;
    expect(&client, [2, 3]);
    settle().await;
    assert_eq!(script.calls().len(), 4, "2 goes on as it is");
    expect(&client, []);
    for number in [1, 2, 3] {
        read(&client, number).await.unwrap();
    }
    get_path(&client, "others/1").await.unwrap();
    let counts = [1, 2, 3].map(|number| script.count(&format!("/pages/{number}")));
    assert_eq!((counts, script.count("/others/1")), ([2, 2, 2], 1));
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_asked_for_again_and_makes_room() {
    let script = Script::new(|_, _| ok());
    let client = client(&script, Policy::default().with_concurrency(1));
    expect(&client, [1]);
    settle().await;
    client.expect("others", [client.get("others/1", &[])]);
    settle().await;
    assert_eq!(script.calls().len(), 1, "there is no room");
    advance(SECOND * 30).await;
    client.expect("others", [client.get("others/1", &[])]);
    settle().await;
    assert_eq!(script.count("/others/1"), 1);
    read(&client, 1).await.unwrap();
    assert_eq!(script.count("/pages/1"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_is_the_first_attempt() {
    let script = Script::new(|n, _| if n == 0 { status(503) } else { ok() });
    let patient = client(&script, Policy::default());
    expect(&patient, [1]);
    read(&patient, 1).await.unwrap();
    assert_eq!(script.calls().len(), 2);

    let script = Script::new(|_, _| status(503));
    let hasty = client(&script, Policy::default().with_max_attempts(1));
    expect(&hasty, [1]);
    assert_eq!(read(&hasty, 1).await, Err(ErrorKind::Unavailable));
    assert_eq!(script.calls().len(), 1);

    let script = Script::new(|n, _| if n == 0 { body(200, "<html>") } else { ok() });
    let client = client(&script, Policy::default());
    expect(&client, [1]);
    read(&client, 1).await.unwrap();
    assert_eq!(script.calls().len(), 2, "what is not the promised JSON is found by who reads it");
}

#[tokio::test(start_paused = true)]
async fn a_429_ahead_holds_the_account_and_its_wait_is_not_counted_twice() {
    let script = Script::new(|n, _| if n == 0 { status(429).header("retry-after", "20") } else { ok() });
    let client = client(&script, Policy::default());
    expect(&client, [1]);
    settle().await;
    advance(SECOND * 5).await;
    get_path(&client, "others/1").await.unwrap();
    read(&client, 1).await.unwrap();
    let times = script.times();
    assert!(times[1..].iter().all(|at| (20_000..20_100).contains(at)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn large_answers_are_not_kept_for_later() {
    let large = format!("[{}1]", "1,".repeat(600_000));
    let script = Script::new(move |n, _| if n == 0 { body(200, &large) } else { ok() });
    let client = client(&script, Policy::default());
    read(&client, 0).await.unwrap();
    expect(&client, [1, 2]);
    settle().await;
    assert_eq!(script.calls().len(), 1);
    read(&client, 1).await.unwrap();
    expect(&client, [2, 3]);
    settle().await;
    assert_eq!(script.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn only_what_reads_is_sent_ahead() {
    let script = Script::new(|_, _| ok());
    let client = client(&script, Policy::default());
    client.expect("pages", [client.request(Method::POST, "pages", &[], Bytes::new())]);
    settle().await;
    assert_eq!(script.calls().len(), 0);
}
