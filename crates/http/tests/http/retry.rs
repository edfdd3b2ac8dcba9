//! What is tried again, when, and when no more.

use std::{sync::Arc, time::Duration};

use charging_sessions_core::{Error, ErrorKind};
use charging_sessions_http::{Bytes, Dialect, Policy, Quota, RetryBudget, http::Method};

use crate::script::*;

fn in_turn(replies: Vec<fn() -> Reply>) -> Arc<Script> {
    Script::new(move |n, _| replies.get(n).map_or_else(ok, |reply| reply()))
}

#[tokio::test(start_paused = true)]
async fn the_wait_a_provider_asks_for_is_kept_to_the_second() {
    let script = in_turn(vec![
        || status(429).header("retry-after", "7"),
        || status(503).header("retry-after", "Tue, 01 Sep 2026 12:00:20 GMT"),
        || {
            status(503)
                .header("retry-after", "Tue, 01 Sep 2026 23:00:05 GMT")
                .header("date", "Tue, 01 Sep 2026 23:00:00 GMT")
        },
        || status(429).header("retry-after", "0.5"),
    ]);
    get(&client(&script, Policy::default())).await.unwrap();
    assert_eq!(script.times(), [0, 7_000, 20_000, 25_000, 25_500]);
}

#[tokio::test(start_paused = true)]
async fn another_spelling_of_the_wait_is_a_matter_of_dialect() {
    let script = in_turn(vec![|| status(429).header("retryafter", "42")]);
    let dialect = Dialect::new().with_retry_after(&["retry-after", "RetryAfter"]);
    get(&builder(&script).dialect(dialect).build().unwrap()).await.unwrap();
    assert_eq!(script.times(), [0, 42_000]);
}

#[tokio::test(start_paused = true)]
async fn a_useless_wait_is_replaced_by_our_own() {
    let script = in_turn(vec![
        || status(429).header("retry-after", "0"),
        || status(503).header("retry-after", "-3"),
        || status(503).header("retry-after", "in a while"),
        || status(503).header("retry-after", "Tue, 01 Sep 2026 11:00:00 GMT"),
    ]);
    get(&client(&script, Policy::default())).await.unwrap();
    assert_eq!(script.times(), [0, 500, 1_500, 3_500, 7_500]);
}

#[tokio::test(start_paused = true)]
async fn every_fault_that_may_pass_is_tried_again() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let script = Script::new(move |n, _| if n == 0 { status(code) } else { ok() });
        get(&client(&script, Policy::default())).await.unwrap();
        assert_eq!(script.times(), [0, 500], "{code}");
    }
    for kind in [ErrorKind::Network, ErrorKind::Timeout] {
        let script = Script::new(move |n, _| if n == 0 { broken(kind) } else { ok() });
        get(&client(&script, Policy::default())).await.unwrap();
        assert_eq!(script.times(), [0, 500], "{kind}");
    }
    for bad in ["[1,", "<html>", "", "{}"] {
        let script = Script::new(move |n, _| if n == 0 { body(200, bad) } else { ok() });
        get(&client(&script, Policy::default())).await.unwrap();
        assert_eq!(script.times(), [0, 500], "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_tried_again() {
    use ErrorKind::*;
    for (code, kind) in [
        (400, Rejected),
        (403, PermissionDenied),
        (404, NotFound),
        (410, NotFound),
        (422, Rejected),
        (501, Unavailable),
        (505, Unavailable),
        (300, Protocol),
        (304, Protocol),
    ] {
        let script = Script::new(move |_, _| status(code));
        let error = get(&client(&script, Policy::default())).await.unwrap_err();
        assert_eq!((error.kind(), error.status(), error.is_retryable()), (kind, Some(code), false));
        assert_eq!(error.provider(), Some(PROVIDER));
        assert_eq!(script.calls().len(), 1, "{code}");
    }
    // A body above the limit is as long the next time.
    let script = Script::new(|_, _| broken(Protocol));
    assert_eq!(get(&client(&script, Policy::default())).await.unwrap_err().kind(), Protocol);
    assert_eq!(script.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_decides_that_other_errors_are_final() {
    let script = Script::new(|_, _| ok());
    let client = client(&script, Policy::default());
    let request = client.get("x", &[]).unwrap();
    let error = client.send(request, |_| Err::<(), _>(Error::new(ErrorKind::InvalidCursor, "no"))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidCursor);
    assert_eq!(script.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn used_up_attempts_are_final_and_say_what_was_last() {
    let script = Script::new(|n, _| body(503, &format!("{{\"title\":\"down {n}\"}}")));
    let error = get(&client(&script, Policy::default())).await.unwrap_err();
    assert_eq!(script.times(), [0, 500, 1_500, 3_500, 7_500]);
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Unavailable, true));
    assert_eq!(error.to_string(), "test: the provider could not answer (HTTP 503): down 4");

    let script = Script::new(|_, _| body(200, "<html>"));
    let error = get(&client(&script, Policy::default())).await.unwrap_err();
    assert_eq!(script.calls().len(), 5);
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Protocol, true));
    assert_eq!(
        error.to_string(),
        "test: expected JSON of the documented shape, found an HTML page (HTTP 200)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drawn_pause_is_never_above_its_ceiling() {
    let script = Script::new(|_, _| status(503));
    let policy = Policy::default().with_max_attempts(8).with_retry_budget(RetryBudget::new(20, 100));
    let client = builder(&script).policy(policy).jitter(Arc::new(|_| SECOND * 3_600)).build().unwrap();
    get(&client).await.unwrap_err();
    assert_eq!(script.times(), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 61_500]);

    // And as drawn by default: anywhere below, not always the same.
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let script = in_turn(vec![|| status(503)]);
        let client = charging_sessions_http::Client::builder(PROVIDER, "https://a.example".parse().unwrap())
            .transport(script.clone())
            .build()
            .unwrap();
        get(&client).await.unwrap();
        assert!(script.times()[1] <= 501);
        firsts.insert(script.times()[1]);
    }
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn our_own_pauses_are_bounded_in_sum() {
    let script = Script::new(|_, _| status(503));
    let policy = Policy::default()
        .with_max_attempts(100)
        .with_max_total_wait(SECOND * 10)
        .with_retry_budget(RetryBudget::new(20, 1_000));
    let error = get(&client(&script, policy)).await.unwrap_err();
    assert!(error.is_exhausted());
    // 0.5 + 1 + 2 + 4 is 7.5 s; another 8 s would be too much.
    assert_eq!(script.times(), [0, 500, 1_500, 3_500, 7_500]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_above_the_limit_fails_at_once_for_the_whole_account() {
    let script = Script::new(|_, _| status(429).header("retry-after", "3600"));
    let client = client(&script, Policy::default());
    let error = get(&client).await.unwrap_err();
    assert_eq!((error.retry_after(), error.is_exhausted()), (Some(SECOND * 3_600), true));
    tokio::time::sleep(SECOND * 100).await;
    let error = get(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::RateLimited, true));
    assert_eq!(error.retry_after().map(|wait| wait.as_secs_f64().round()), Some(3_500.0));
    assert_eq!(script.times(), [0]);
    // What is left of it is now short enough to be waited for.
    tokio::time::sleep(SECOND * 2_700).await;
    get(&client).await.unwrap_err();
    assert_eq!(script.times(), [0, 3_600_000]);
}

#[tokio::test(start_paused = true)]
async fn a_429_holds_back_the_whole_account() {
    let script = in_turn(vec![|| status(429).header("retry-after", "30")]);
    let client = client(&script, Policy::default());
    let (first, second) = tokio::join!(get(&client), async {
        tokio::time::sleep(SECOND).await;
        get(&client).await
    });
    first.and(second).unwrap();
    assert_eq!(script.times(), [0, 30_000, 30_000]);
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_wait_holds_back_the_account_for_our_own_pause() {
    let script = in_turn(vec![|| status(429)]);
    let client = client(&script, Policy::default());
    let (first, second) = tokio::join!(get(&client), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        get(&client).await
    });
    first.and(second).unwrap();
    assert_eq!(script.times(), [0, 500, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_503_with_a_wait_holds_back_its_own_request_alone() {
    let script = in_turn(vec![|| status(503).header("retry-after", "30")]);
    let client = client(&script, Policy::default());
    let (first, second) = tokio::join!(get(&client), async {
        tokio::time::sleep(SECOND).await;
        get(&client).await
    });
    first.and(second).unwrap();
    assert_eq!(script.times(), [0, 1_000, 30_000]);
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_stops_retries_and_is_earned_again() {
    let script = Script::new(|_, _| status(503));
    let policy = Policy::default().with_backoff(Duration::ZERO).with_retry_budget(RetryBudget::new(20, 5));
    let client = client(&script, policy);
    // The first has 4 retries and leaves 1 of 5. Each request then earns a fifth of one.
    for sent_in_all in [5, 7, 8, 9, 10, 12, 13] {
        assert!(get(&client).await.unwrap_err().is_exhausted());
        assert_eq!(script.calls().len(), sent_in_all);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_a_fifth_more_requests_and_not_five_times_as_many() {
    let script = Script::new(|_, _| status(503));
    let policy = Policy::default().with_backoff(Duration::ZERO);
    let client = client(&script, policy);
    for _ in 0..1_000 {
        get(&client).await.unwrap_err();
    }
    let sent = script.calls().len();
    assert!((1_200..=1_210).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn single_faults_are_always_tried_again_however_rare_requests_are() {
    let script = Script::new(|n, _| if n % 2 == 0 { status(503) } else { ok() });
    let policy = Policy::default().with_retry_budget(RetryBudget::new(0, 1));
    let client = client(&script, policy);
    for _ in 0..50 {
        get(&client).await.unwrap();
        tokio::time::sleep(SECOND * 60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_get_is_repeated() {
    for (reply, kind) in [
        ((|| status(503)) as fn() -> Reply, ErrorKind::Unavailable),
        (|| status(429).header("retry-after", "1"), ErrorKind::RateLimited),
        (|| broken(ErrorKind::Network), ErrorKind::Network),
        (|| body(200, "<html>"), ErrorKind::Protocol),
    ] {
        let script = Script::new(move |_, _| reply());
        let client = client(&script, Policy::default());
        let request = client.request(Method::POST, "x", &[], Bytes::new()).unwrap();
        let error = client.send(request, list).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, false));
        assert_eq!(script.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dialect_can_give_an_answer_another_meaning() {
    let dialect = Dialect::new().with_classify(|response| match response.status().as_u16() {
        403 => Some(ErrorKind::RateLimited),
        200 if response.body().starts_with(b"{\"error\"") => Some(ErrorKind::Unavailable),
        _ => None,
    });
    let script = in_turn(vec![|| body(200, "{\"error\":1}"), || status(403).header("retry-after", "9")]);
    get(&builder(&script).dialect(dialect).build().unwrap()).await.unwrap();
    assert_eq!(script.times(), [0, 500, 9_500]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_time_limit_and_waiting_for_the_quota_does_not_count() {
    let script =
        Script::new(|n, _| if n == 1 { ok().after(SECOND * 1_000) } else { ok().after(SECOND * 29) });
    let policy = Policy::default().with_quota(Some(Quota::new(1, SECOND * 100)));
    let client = client(&script, policy);
    get(&client).await.unwrap();
    get(&client).await.unwrap();
    // The second waits until 100 s, is given up at 130 s and tried again when the quota allows.
    assert_eq!(script.times(), [0, 100_000, 200_000]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_ends_in_a_timeout() {
    let script = Script::new(|_, _| ok().after(SECOND * 1_000));
    let error = get(&client(&script, Policy::default().with_max_attempts(1))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Timeout, true));
    assert_eq!(error.to_string(), "test: no whole answer within 30s");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_allowed_and_those_that_pause_do_not_count() {
    let script = Script::new(|n, _| {
        let reply = if n < 3 { status(503).header("retry-after", "60") } else { ok() };
        reply.after(SECOND)
    });
    let client = client(&script, Policy::default().with_concurrency(3));
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(script.most_in_flight(), 3);
    // The three that pause let the other 27 pass, three a second.
    assert_eq!(script.times()[29], 9_000);
    assert_eq!(script.times()[30..], [61_000, 61_000, 61_000]);
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_give_back_their_permits_wherever_they_are() {
    let script = Script::new(|n, _| if n % 2 == 0 { status(503) } else { ok().after(SECOND) });
    let policy = Policy::default()
        .with_concurrency(1)
        .with_quota(Some(Quota::new(3, SECOND * 5)))
        .with_retry_budget(RetryBudget::new(100, 100));
    let client = client(&script, policy);
    for steps in 0..40 {
        let mut request = Box::pin(get(&client));
        for _ in 0..steps {
            if tokio::time::timeout(Duration::from_millis(100), &mut request).await.is_ok() {
                break;
            }
        }
    }
    tokio::time::timeout(SECOND * 30, get(&client)).await.unwrap().unwrap();
    let times = script.times();
    assert!(times.windows(4).all(|window| window[3] - window[0] >= 5_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_quota_counts_retries_and_learns_from_headers() {
    let script = in_turn(vec![|| status(503).header("x-left", "9"), || ok().header("x-left", "0")]);
    let dialect = Dialect::new().with_remaining(&["x-left"]);
    let policy = Policy::default().with_quota(Some(Quota::new(10, SECOND * 60)));
    let client = builder(&script).dialect(dialect).policy(policy).build().unwrap();
    get(&client).await.unwrap();
    get(&client).await.unwrap();
    // Of ten, two are ours and eight were others': one of them leaves the window every 7.5 s.
    assert_eq!(script.times(), [0, 500, 8_000]);
}
