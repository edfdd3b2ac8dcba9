//! Refresh tokens that rotate, and tokens that outlive the process.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_http::{Client, MemoryTokenStore, OAuth2, StoredToken, TokenStore};
use secrecy::ExposeSecret as _;
use tokio::time::sleep;

use crate::script::*;

/// A provider that accepts each refresh token once.
fn rotating() -> Arc<Script> {
    let current = Mutex::new((0, "refresh-0".to_owned()));
    Script::new(move |_, call| {
        let mut current = current.lock().unwrap();
        if !call.uri.ends_with("/token") {
            let good = format!("access-{}", current.0);
            return if call.bearer() == good { ok().after(SECOND) } else { status(401) };
        }
        let sent = call.body.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap();
        if sent != current.1 {
            return body(400, "{\"error\":\"invalid_grant\"}");
        }
        let n = current.0 + 1;
        *current = (n, format!("refresh-{n}"));
        let answer =
            format!(r#"{{"access_token":"access-{n}","refresh_token":"refresh-{n}","expires_in":3600}}"#);
        body(200, &answer).after(SECOND)
    })
}

/// Notes what is saved, and when; slow, and fails when told to.
#[derive(Debug, Default)]
struct Store {
    inner: MemoryTokenStore,
    saved: Mutex<Vec<String>>,
    fails: AtomicBool,
}

impl Store {
    fn refresh_token(&self) -> Option<String> {
        Some(self.inner.get()?.refresh_token?.expose_secret().to_owned())
    }
}

#[async_trait]
impl TokenStore for Store {
    async fn load(&self) -> Result<Option<StoredToken>> {
        sleep(SECOND).await;
        self.inner.load().await
    }
    async fn save(&self, token: &StoredToken) -> Result<()> {
        sleep(SECOND).await;
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "disk full"));
        }
        self.saved.lock().unwrap().push(token.access_token.expose_secret().to_owned());
        self.inner.save(token).await
    }
}

fn oauth(refresh: &str) -> OAuth2 {
    OAuth2::refresh_token("https://api.example/token".parse().unwrap(), "id", None, refresh.into())
}

fn client_with(script: &Arc<Script>, store: &Arc<Store>, refresh: &str) -> Client {
    builder(script).auth(oauth(refresh).store(store.clone())).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_rotated_refresh_token_is_saved_before_the_access_token_is_used() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    let client = client_with(&script, &store, "refresh-0");
    get(&client).await.unwrap();
    // Loading, asking and saving take a second each; only then the request goes out.
    assert_eq!(script.times(), [1_000, 3_000]);
    assert_eq!(store.refresh_token().as_deref(), Some("refresh-1"));
    assert_eq!(script.calls()[0].body, "grant_type=refresh_token&refresh_token=refresh-0&client_id=id");
    assert!(!script.calls()[0].headers.contains_key("authorization"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_anywhere_does_not_lose_the_rotated_token() {
    let mut is_covered = false;
    for polls in 0..60 {
        let (script, store) = (rotating(), Arc::<Store>::default());
        let client = client_with(&script, &store, "refresh-0");
        let mut request = Box::pin(get(&client));
        for _ in 0..polls {
            if poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx))).await.is_ready() {
                is_covered = true;
                break;
            }
            sleep(SECOND / 10).await;
        }
        drop(request);
        sleep(SECOND * 10).await;
        let asked = script.count("/token");
        assert!(asked <= 1);
        assert_eq!(store.saved.lock().unwrap().len(), asked, "saved whenever issued, after {polls} polls");
        // And another process can go on from the store.
        let client = client_with(&script, &store, "refresh-0");
        get(&client).await.unwrap();
        assert_eq!(script.count("/token"), 1, "after {polls} polls");
    }
    assert!(is_covered, "the polls cover the whole request");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_could_not_be_saved_is_not_used_and_not_lost() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    store.fails.store(true, Ordering::SeqCst);
    let client = client_with(&script, &store, "refresh-0");
    let error = get(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Unavailable, true));
    assert_eq!(error.to_string(), "test: sign-in failed: disk full");
    assert_eq!((script.count("/token"), script.count("/items")), (1, 0));
    store.fails.store(false, Ordering::SeqCst);
    get(&client).await.unwrap();
    assert_eq!((script.count("/token"), script.count("/items")), (1, 1));
    assert_eq!(store.refresh_token().as_deref(), Some("refresh-1"));
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_is_used_without_asking() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    get(&client_with(&script, &store, "refresh-0")).await.unwrap();
    get(&client_with(&script, &store, "refresh-0")).await.unwrap();
    assert_eq!(script.count("/token"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_that_is_refused_is_renewed_from_the_store() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    let end = "2026-09-01T20:00:00Z".parse().unwrap();
    let stale = StoredToken::new("access-x".into(), Some("refresh-0".into()), Some(end));
    store.inner.save(&stale).await.unwrap();
    get(&client_with(&script, &store, "long-gone")).await.unwrap();
    assert_eq!((script.count("/token"), script.count("/items")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_consent_comes_before_a_store_that_is_out_of_date() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    let stale = StoredToken::new("access-x".into(), Some("refresh-old".into()), None);
    store.inner.save(&stale).await.unwrap();
    get(&client_with(&script, &store, "refresh-0")).await.unwrap();
    assert_eq!(script.count("/token"), 2);
    assert_eq!(store.refresh_token().as_deref(), Some("refresh-1"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_another_process_has_rotated_is_taken_from_the_store() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    let ours = client_with(&script, &store, "refresh-0");
    let theirs = client_with(&script, &store, "refresh-0");
    get(&ours).await.unwrap();
    sleep(SECOND * 3_600).await;
    get(&theirs).await.unwrap();
    // Ours has never heard of the second one, and finds it in the store.
    get(&ours).await.unwrap();
    let bodies: Vec<String> =
        script.calls().into_iter().map(|call| call.body).filter(|body| !body.is_empty()).collect();
    assert_eq!(
        bodies,
        [
            "grant_type=refresh_token&refresh_token=refresh-0&client_id=id",
            "grant_type=refresh_token&refresh_token=refresh-1&client_id=id"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_race_for_a_refresh_token_is_settled_by_the_store() {
    let (script, store) = (rotating(), Arc::<Store>::default());
    let ours = client_with(&script, &store, "refresh-0");
    let theirs = client_with(&script, &store, "refresh-0");
    // Both find the store empty; theirs asks half a second later and is refused, a second before ours is saved.
    let (first, second) = tokio::join!(get(&ours), async {
        sleep(SECOND / 2).await;
        get(&theirs).await
    });
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Unauthenticated, "the provider issued one token only");
    get(&theirs).await.unwrap();
    assert_eq!(script.count("/token"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_fails_the_request_and_not_the_client() {
    #[derive(Debug)]
    struct Panics(AtomicBool);
    #[async_trait]
    impl TokenStore for Panics {
        async fn load(&self) -> Result<Option<StoredToken>> {
            assert!(self.0.swap(true, Ordering::SeqCst), "this panic is part of the test");
            Ok(None)
        }
        async fn save(&self, _: &StoredToken) -> Result<()> {
            Ok(())
        }
    }
    let script = rotating();
    let auth = oauth("refresh-0").store(Arc::new(Panics(AtomicBool::new(false))));
    let client = builder(&script).auth(auth).build().unwrap();
    get(&client).await.unwrap();
    assert_eq!(script.times(), [500, 1_500], "tried again after a pause");
}
