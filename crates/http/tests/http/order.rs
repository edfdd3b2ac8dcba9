//! The order of the stages is the documented one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::Result;
use charging_sessions_http::{
    Authenticator, Channel, Policy, Quota, Request, SecretString, SignIn, Url, http::HeaderMap,
};
use tokio::time::{Instant, sleep};

use crate::script::*;

/// Notes when it signs. Signs in first, which takes a while.
#[derive(Debug)]
struct Noted {
    began: Instant,
    notes: Arc<Mutex<Vec<(u64, &'static str)>>>,
    signed_in: Mutex<bool>,
}

impl Noted {
    fn note(&self, what: &'static str) {
        self.notes.lock().unwrap().push((self.began.elapsed().as_millis() as u64, what));
    }
}

#[async_trait]
impl Authenticator for Noted {
    fn endpoints(&self) -> Vec<Url> {
        Vec::new()
    }
    fn sign(&self, _: &mut Request, _: bool) -> Result<SignIn> {
        let signed_in = *self.signed_in.lock().unwrap();
        self.note(if signed_in { "sign" } else { "sign-in needed" });
        Ok(if signed_in { SignIn::Done } else { SignIn::Needed })
    }
    async fn renew(&self, _: &Channel) -> Result<Duration> {
        sleep(SECOND * 5).await;
        *self.signed_in.lock().unwrap() = true;
        self.note("signed in");
        Ok(SECOND * 5)
    }
    fn refused(&self, _: &HeaderMap) -> bool {
        false
    }
    fn accepted(&self, _: &HeaderMap) {}
    fn secrets(&self) -> Vec<SecretString> {
        Vec::new()
    }
}

#[tokio::test(start_paused = true)]
async fn retry_then_permit_then_quota_then_sign_in_then_time_limit_then_transport() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let auth = Noted { began: Instant::now(), notes: notes.clone(), signed_in: Mutex::new(false) };
    // The first answer takes 20 s, the second would take for ever, the third fails, the others are quick.
    let script = Script::new({
        let notes = notes.clone();
        move |n, call| {
            notes.lock().unwrap().push((call.at, "sent"));
            match n {
                0 => ok().after(SECOND * 20),
                1 => ok().after(SECOND * 1_000),
                _ => ok(),
            }
        }
    });
    let policy = Policy::default().with_concurrency(1).with_quota(Some(Quota::new(1, SECOND * 40)));
    let client = builder(&script).policy(policy).auth(auth).build().unwrap();
    let (first, second) = tokio::join!(get(&client), get(&client));
    first.and(second).unwrap();
    assert_eq!(
        *notes.lock().unwrap(),
        [
            // The first request has its permit and its place in the quota; only then it signs in, and is sent.
            (0, "sign-in needed"),
            (5_000, "signed in"),
            (5_000, "sign"),
            (5_000, "sent"),
            // The second waits for the permit until 25 s, then for the quota until 45 s, and is signed at the
            // moment it starts. Its time limit of 30 s begins there: neither wait has counted.
            (45_000, "sign"),
            (45_000, "sent"),
            // It is given up at 75 s, pauses for 0.5 s, and pays for the next attempt anew.
            (85_000, "sign"),
            (85_000, "sent"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sign_in_counts_against_the_time_limit() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let auth = Noted { began: Instant::now(), notes, signed_in: Mutex::new(false) };
    let script = Script::new(|_, _| ok().after(SECOND * 26));
    let policy = Policy::default().with_max_attempts(1);
    let client = builder(&script).policy(policy).auth(auth).build().unwrap();
    let began = Instant::now();
    // 5 s of sign-in leave 25 s for an answer that takes 26 s.
    get(&client).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 30);
    get(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_held_account_does_not_sign_in() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let auth = Noted { began: Instant::now(), notes: notes.clone(), signed_in: Mutex::new(true) };
    let script = Script::new(|n, _| if n == 0 { status(429).header("retry-after", "60") } else { ok() });
    let client = builder(&script).auth(auth).build().unwrap();
    get(&client).await.unwrap();
    assert_eq!(*notes.lock().unwrap(), [(0, "sign"), (60_000, "sign")]);
}
