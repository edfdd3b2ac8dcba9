//! Statuses, faults, waits, and callers that go away.

use std::{collections::BTreeSet, future::poll_fn, task::Poll, time::Duration};

use charging_sessions_core::{Error, ErrorKind, SessionQuery};
use charging_sessions_http::Response;
use tokio::time::{Instant, timeout};

use super::{
    Outcome,
    line::{Effect, Fault, answer},
    trial::{ATTEMPTS, Account, IN_FLIGHT, failed, require},
};

const HTML: &str = "<!doctype html><html><title>Back soon</title></html>";

/// What refuses, and the kind of error that it stands for.
const REFUSALS: [(u16, ErrorKind); 15] = [
    (400, ErrorKind::Rejected),
    (401, ErrorKind::Unauthenticated),
    (403, ErrorKind::PermissionDenied),
    (404, ErrorKind::NotFound),
    (406, ErrorKind::Rejected),
    (409, ErrorKind::Rejected),
    (410, ErrorKind::NotFound),
    (418, ErrorKind::Rejected),
    (422, ErrorKind::Rejected),
    (429, ErrorKind::RateLimited),
    (500, ErrorKind::Unavailable),
    (502, ErrorKind::Unavailable),
    (503, ErrorKind::Unavailable),
    (504, ErrorKind::Unavailable),
    (599, ErrorKind::Unavailable),
];

/// How many requests of the first page are refused in turn.
const MOST_PLACES: usize = 5;

pub(super) async fn tells_statuses_apart(account: &Account) -> Outcome {
    let all = SessionQuery::all();
    let on = account.open();
    on.source.fetch_page(&all, None).await.map_err(|error| failed("the first page", &error))?;
    // What comes first, what has the sessions, and what lies between.
    let places = 0..on.line.data_requests().min(MOST_PLACES);
    let cases = places.flat_map(|place| REFUSALS.map(|(status, kind)| (place, status, kind)));
    for (place, status, kind) in cases {
        for (content_type, body) in [("application/json", ""), ("text/html", HTML)] {
            let on = account.open();
            on.line.fail(Fault::from(place, Effect::Answer(answer(status, content_type, body))));
            let error = on.source.fetch_page(&all, None).await.err();
            let seen = error.as_ref().map(|error| (error.status(), error.kind()));
            require(seen == Some((Some(status), kind)), || {
                format!(
                    "{status} with the body {body:?} at request {place} gave {error:?}, expected is {kind}"
                )
            })?;
        }
    }
    Ok(())
}

/// What may pass, and the kind of error if it does not.
fn faults() -> Vec<(String, Effect, ErrorKind)> {
    let status = |status, kind| {
        (format!("status {status}"), Effect::Answer(answer(status, "text/plain", "a fault")), kind)
    };
    let cut = |answer: Response| answer.map(|body| body.slice(..body.len() / 2));
    vec![
        status(408, ErrorKind::Timeout),
        status(429, ErrorKind::RateLimited),
        status(500, ErrorKind::Unavailable),
        status(502, ErrorKind::Unavailable),
        status(503, ErrorKind::Unavailable),
        status(504, ErrorKind::Unavailable),
        ("HTML with status 200".into(), Effect::Answer(answer(200, "text/html", HTML)), ErrorKind::Protocol),
        ("a body that breaks off".into(), Effect::Change(cut), ErrorKind::Protocol),
        ("a lost connection".into(), Effect::Lost, ErrorKind::Network),
        ("silence".into(), Effect::Silent, ErrorKind::Timeout),
    ]
}

/// The time limit of an attempt where silence is tried, which costs all of it. Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) async fn gets_over_passing_faults(account: &Account) -> Outcome {
    for (what, effect, _) in faults() {
        let is_silence = matches!(effect, Effect::Silent);
        let on = account.open_with(|p| if is_silence { p.with_attempt_timeout(PATIENCE) } else { p });
        on.line.fail(if is_silence { Fault::at(0, effect) } else { Fault::first_of_each(effect) });
        on.is_complete(&format!("in spite of {what}")).await?;
        require(on.line.hits() > 0, || format!("{what} befell no request"))?;
    }
    // A label that is wrong is no fault at all.
    let on = account.open();
    let mislabel = |mut answer: Response| {
        answer.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html"));
        answer
    };
    on.line.fail(Fault::from(0, Effect::Change(mislabel)));
    on.is_complete("under a wrong content type").await
}

pub(super) async fn ends_at_lasting_faults(account: &Account) -> Outcome {
    let on = account.open();
    on.read(SessionQuery::all()).await?;
    let needed = on.line.data_requests();
    for (what, effect, kind) in faults() {
        for from in BTreeSet::from([0, needed / 2, needed.saturating_sub(1)]) {
            let is_silence = matches!(effect, Effect::Silent);
            if is_silence && from > 0 {
                continue;
            }
            let on = account.open_with(|policy| match is_silence {
                true => policy.with_attempt_timeout(PATIENCE).with_max_attempts(2),
                false => policy,
            });
            on.line.fail(Fault::from(from, effect.clone()));
            let error = on.listing(SessionQuery::all()).await?.err();
            require(error.as_ref().is_some_and(|error| error.kind() == kind), || {
                format!("{what} from request {from} on gave {error:?}, expected is {kind}")
            })?;
            // As many as may be in flight, each tried as often as the policy says.
            let most = ATTEMPTS as usize * IN_FLIGHT;
            require(on.line.hits() <= most, || {
                format!("{what} from request {from} on was met by {} requests", on.line.hits())
            })?;
        }
    }
    Ok(())
}

pub(super) async fn waits_as_asked(account: &Account) -> Outcome {
    let too_many = |wait: &'static str| {
        let mut answer = answer(429, "application/json", "{}");
        answer.headers_mut().insert("retry-after", http::HeaderValue::from_static(wait));
        Effect::Answer(answer)
    };
    // One at a time, so that the second request is the one after the answer.
    let on = account.open_with(|policy| policy.with_concurrency(1));
    on.line.fail(Fault::at(0, too_many("1")));
    on.is_complete("after a wait").await?;
    let sent = on.line.sent();
    let times: Vec<Instant> = sent.iter().skip_while(|sent| sent.is_sign_in).map(|sent| sent.at).collect();
    let waited = times.get(1).map(|next| *next - times[0]);
    require(waited.is_some_and(|waited| waited >= Duration::from_secs(1)), || {
        format!("a second was asked for, and the next request came after {waited:?}")
    })?;
    let on = account.open();
    on.line.fail(Fault::from(0, too_many("86400")));
    let asked = timeout(Duration::from_secs(10), on.source.fetch_page(&SessionQuery::all(), None)).await;
    let error = asked.map_err(|_| "a wait of a day is waited for")?.err();
    require(error.as_ref().and_then(Error::retry_after) == Some(Duration::from_secs(86_400)), || {
        format!("a wait of a day gave {error:?}, which does not say it")
    })?;
    require(on.line.hits() == 1, || format!("a wait of a day was asked for {} times", on.line.hits()))
}

/// How often a page may wait for something. Many more are a loop.
const MOST_POLLS: usize = 1000;

pub(super) async fn survives_being_dropped(account: &Account) -> Outcome {
    for most in 1..MOST_POLLS {
        // A single permit, so that one that is lost is missed.
        let on = account.open_with(|policy| policy.with_concurrency(1));
        let query = SessionQuery::all();
        let mut page = on.source.fetch_page(&query, None);
        let mut polls = 0;
        let done = poll_fn(|context| {
            polls += 1;
            match page.as_mut().poll(context) {
                Poll::Ready(page) => Poll::Ready(Some(page)),
                Poll::Pending if polls == most => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let done = done.await;
        drop(page);
        let what = format!("after a page was abandoned at poll {most}");
        timeout(Duration::from_secs(20), on.is_complete(&what))
            .await
            .map_err(|_| format!("{what}, a listing hangs"))??;
        if done.is_some() {
            return Ok(());
        }
    }
    Err(format!("a page is not there after {MOST_POLLS} polls"))
}
