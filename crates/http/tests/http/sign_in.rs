//! Signing in with client credentials, in the styles that providers have.

use std::sync::Arc;

use charging_sessions_core::ErrorKind;
use charging_sessions_http::{
    BodyFormat, Client, CredentialsIn, Dialect, EitherHeader, OAuth2, Policy, Quota, StaticHeader,
    http::{HeaderValue, header},
};
use tokio::time::sleep;

use crate::script::*;

fn oauth() -> OAuth2 {
    OAuth2::client_credentials("https://login.example/token/".parse().unwrap(), "my id", "s3cr+t/0".into())
}

fn token(n: usize) -> Reply {
    body(200, &format!("{{\"access_token\":\"token-{n}\",\"expires_in\":3600,\"token_type\":\"Bearer\"}}"))
}

fn is_token(call: &Call) -> bool {
    call.uri.starts_with("https://login.example/token/")
}

fn client_of(script: &Arc<Script>) -> Client {
    builder(script).auth(oauth()).policy(Policy::default().with_concurrency(100)).build().unwrap()
}

/// Sends `n` requests at once and gives the kinds of those that failed.
async fn at_once(client: &Client, n: usize) -> Vec<ErrorKind> {
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client).await })
        })
        .collect();
    let mut failed = Vec::new();
    for task in tasks {
        failed.extend(task.await.unwrap().err().map(|e| e.kind()));
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn three_styles_of_asking_for_a_token() {
    let basic = "Basic bXkraWQ6czNjciUyQnQlMkYw"; // my+id:s3cr%2Bt%2F0
    for (auth, content_type, authorization, expected) in [
        (oauth(), "application/x-www-form-urlencoded", Some(basic), "grant_type=client_credentials"),
        (
            oauth()
                .body_format(BodyFormat::Json)
                .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            "application/json",
            Some(basic),
            r#"{"grant_type":"client_credentials"}"#,
        ),
        (
            oauth().credentials_in(CredentialsIn::Body).scope("esp").param("audience", "a b"),
            "application/x-www-form-urlencoded",
            None,
            "grant_type=client_credentials&scope=esp&audience=a+b&client_id=my+id&client_secret=s3cr%2Bt%2F0",
        ),
    ] {
        let script = Script::new(|_, call| if is_token(call) { token(1) } else { ok() });
        get(&builder(&script).auth(auth).build().unwrap()).await.unwrap();
        let [asked, got] = &script.calls()[..] else { panic!() };
        assert_eq!((asked.method.as_str(), asked.body.as_str()), ("POST", expected));
        assert_eq!(asked.headers["content-type"], content_type);
        assert_eq!(asked.headers["accept"], "application/json");
        assert_eq!(asked.headers["user-agent"], got.headers["user-agent"]);
        assert_eq!(asked.headers.get("authorization").map(|v| v.to_str().unwrap()), authorization);
        assert_eq!(asked.headers.contains_key("cache-control"), content_type == "application/json");
        assert_eq!((got.method.as_str(), got.bearer()), ("GET", "token-1"));
        assert!(got.headers["authorization"].is_sensitive());
    }
}

#[tokio::test(start_paused = true)]
async fn many_requests_at_once_sign_in_once() {
    let script = Script::new(|n, call| if is_token(call) { token(n).after(SECOND) } else { ok() });
    let client = client_of(&script);
    assert_eq!(at_once(&client, 32).await, []);
    assert_eq!((script.count("/token/"), script.count("/items")), (1, 32));
    assert!(script.calls()[1..].iter().all(|call| call.bearer() == "token-0"));
}

#[tokio::test(start_paused = true)]
async fn many_requests_at_once_share_a_failed_sign_in_too() {
    let script = Script::new(|_, call| if is_token(call) { status(401).after(SECOND) } else { ok() });
    let client = client_of(&script);
    assert_eq!(at_once(&client, 32).await, [ErrorKind::Unauthenticated; 32]);
    assert_eq!((script.count("/token/"), script.count("/items")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_is_renewed_once_for_all() {
    // The provider has forgotten token-0 by the time it is used.
    let script = Script::new(|n, call| match () {
        () if is_token(call) => token(n).after(SECOND),
        () if call.bearer() == "token-0" => status(401).after(SECOND * 2),
        () => ok(),
    });
    let client = client_of(&script);
    assert_eq!(at_once(&client, 32).await, []);
    assert_eq!(script.count("/token/"), 2);
    assert_eq!(script.count("/items"), 64);
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_on_the_way_begins_the_way_anew() {
    let script = Script::new(|n, _| match n {
        0 | 3 => token(n),
        1 | 4 => status(302).header("location", &format!("/once-{n}")),
        2 => status(401),
        _ => ok(),
    });
    get(&client_of(&script)).await.unwrap();
    let uris: Vec<String> = script.calls().into_iter().map(|call| call.uri).collect();
    assert_eq!(uris[1], uris[4], "a redirect may be good for one use only");
    assert_eq!(uris[5], "https://api.example/once-4");
}

#[tokio::test(start_paused = true)]
async fn a_late_401_does_not_throw_a_new_token_away() {
    let script = Script::new(|n, call| match n {
        0 => token(0),
        1 => status(401).after(SECOND * 10), // slow to refuse
        2 => status(401),
        3 => token(3),
        _ => {
            assert_eq!(call.bearer(), "token-3");
            ok()
        }
    });
    let client = client_of(&script);
    let (slow, quick) = tokio::join!(get(&client), async {
        sleep(SECOND).await;
        get(&client).await
    });
    slow.and(quick).unwrap();
    assert_eq!(script.count("/token/"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_even_when_new_is_final() {
    let script =
        Script::new(
            |n, call| {
                if is_token(call) { token(n) } else { body(401, "{\"detail\":\"Who are you?\"}") }
            },
        );
    let client = client_of(&script);
    let error = get(&client).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.is_retryable()),
        (ErrorKind::Unauthenticated, Some(401), false)
    );
    assert_eq!(error.to_string(), "test: the credentials were refused (HTTP 401): Who are you?");
    assert_eq!((script.count("/token/"), script.count("/items")), (2, 2));
    // Three in a row, and the account is left alone.
    get(&client).await.unwrap_err();
    get(&client).await.unwrap_err();
    let before = script.calls().len();
    let error = get(&client).await.unwrap_err();
    assert_eq!((error.kind(), script.calls().len()), (ErrorKind::Unauthenticated, before));
    assert!(error.to_string().contains("no longer used"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_not_shown_again_and_again() {
    let script = Script::new(|n, _| if n == 1 { ok() } else { status(401) });
    let client = builder(&script).auth(StaticHeader::bearer(&"t0ken".into())).build().unwrap();
    get(&client).await.unwrap_err();
    get(&client).await.unwrap();
    for _ in 0..10 {
        assert_eq!(get(&client).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
    assert_eq!(script.calls().len(), 5, "one, one that was fine, and three in a row");
}

#[tokio::test(start_paused = true)]
async fn of_two_keys_the_one_that_is_taken_is_found_and_kept() {
    let either =
        || EitherHeader::new(StaticHeader::bearer(&"first".into()), StaticHeader::bearer(&"second".into()));
    for taken in ["first", "second"] {
        let script = Script::new(move |_, call| if call.bearer() == taken { ok() } else { status(401) });
        let client = builder(&script).auth(either()).build().unwrap();
        for _ in 0..3 {
            get(&client).await.unwrap();
        }
        assert_eq!(script.calls().len(), if taken == "first" { 3 } else { 4 });
    }
    // None of them, and a server that fails in odd ways at the second: what was taken last is what is tried first.
    let script = Script::new(|_, call| status(if call.bearer() == "first" { 401 } else { 503 }));
    let client = builder(&script).auth(either()).build().unwrap();
    assert_eq!(get(&client).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let sent: Vec<_> = script.calls().iter().map(|call| call.bearer().to_owned()).collect();
    assert_eq!(sent, ["first", "second", "first"]);
}

#[tokio::test(start_paused = true)]
async fn each_sending_has_an_identifier_of_its_own() {
    let script = Script::new(|n, _| if n == 0 { status(503) } else { ok() });
    let client = builder(&script).identified_by("x-request-id".parse().unwrap()).build().unwrap();
    get(&client).await.unwrap();
    let ids: Vec<_> = script.calls().iter().map(|call| call.headers["x-request-id"].clone()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids[0].len() == 36, "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    for (lifetime, renewed_after) in [("3600", 3_540), ("100", 90), ("\"200\"", 180), ("null", 270)] {
        let script = Script::new(move |n, call| {
            if is_token(call) {
                body(200, &format!("{{\"access_token\":\"token-{n}\",\"expires_in\":{lifetime}}}"))
            } else {
                ok()
            }
        });
        let client = client_of(&script);
        get(&client).await.unwrap();
        sleep(SECOND * (renewed_after - 1)).await;
        get(&client).await.unwrap();
        assert_eq!(script.count("/token/"), 1, "{lifetime}");
        sleep(SECOND).await;
        get(&client).await.unwrap();
        assert_eq!(script.count("/token/"), 2, "{lifetime}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_born_expired_serves_those_who_waited_for_it() {
    for lifetime in ["0", "-1"] {
        let script = Script::new(move |n, call| {
            if is_token(call) {
                body(200, &format!("{{\"access_token\":\"token-{n}\",\"expires_in\":{lifetime}}}"))
                    .after(SECOND)
            } else {
                ok()
            }
        });
        // Also if the request has to wait for the quota after sign-in.
        let policy = Policy::default().with_quota(Some(Quota::new(1, SECOND * 10)));
        let client = builder(&script).auth(oauth()).policy(policy).build().unwrap();
        get(&client).await.unwrap();
        assert_eq!(script.times(), [0, 10_000]);
        get(&client).await.unwrap();
        assert_eq!(script.times(), [0, 10_000, 20_000, 30_000]);
        assert_eq!(script.count("/token/"), 2);

        let client = client_of(&script);
        assert_eq!(at_once(&client, 32).await, []);
        assert_eq!(script.count("/token/"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn sign_in_is_paid_for_from_the_quota() {
    let script = Script::new(|n, call| match () {
        () if is_token(call) => token(n),
        () if call.bearer() == "token-0" => status(401),
        () => ok(),
    });
    let policy = Policy::default().with_quota(Some(Quota::new(2, SECOND * 10)));
    get(&builder(&script).auth(oauth()).policy(policy).build().unwrap()).await.unwrap();
    // Token, 401; token, 200.
    assert_eq!(script.times(), [0, 0, 10_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn after_three_refusals_the_token_endpoint_is_left_alone() {
    for code in [400, 401, 403] {
        let script = Script::new(move |_, _| body(code, "{\"error\":\"invalid_client\"}"));
        let client = client_of(&script);
        for _ in 0..3 {
            let error = get(&client).await.unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthenticated, Some(code)));
            let text = format!(
                "test: sign-in failed: the token endpoint refused the credentials (HTTP {code}): invalid_client"
            );
            assert_eq!(error.to_string(), text);
        }
        let error = get(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains("no longer asked"), "{error}");
        assert_eq!(script.calls().len(), 3, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_token_endpoint_is_tried_again() {
    for reply in [
        (|| status(503)) as fn() -> Reply,
        || broken(ErrorKind::Network),
        || body(200, "<html>"),
        || body(200, "{}"),
        || status(429).header("retry-after", "0.5"),
    ] {
        let script = Script::new(move |n, call| match () {
            () if n == 0 => reply(),
            () if is_token(call) => token(n),
            () => ok(),
        });
        get(&client_of(&script)).await.unwrap();
        assert_eq!(script.times(), [0, 500, 500]);
    }
    // Even before a POST: it has not been sent yet.
    let script = Script::new(|n, call| match () {
        () if n == 0 => status(503),
        () if is_token(call) => token(n),
        () => ok(),
    });
    let client = client_of(&script);
    let request = client.request(http::Method::POST, "items", &[], Default::default()).unwrap();
    client.send(request, list).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn trouble_that_lasts_is_described() {
    for (reply, kind, text) in [
        (
            (|| body(503, "down")) as fn() -> Reply,
            ErrorKind::Unavailable,
            "the token endpoint could not answer (HTTP 503): down",
        ),
        (|| broken(ErrorKind::Network), ErrorKind::Network, "the wire is cut"),
        (
            || body(200, "<!doctype html>"),
            ErrorKind::Protocol,
            "the token endpoint: expected JSON of the documented shape, found an HTML page (HTTP 200)",
        ),
        (
            || body(200, "{\"access_token\":5}"),
            ErrorKind::Protocol,
            "the token endpoint answered without an access token (HTTP 200)",
        ),
        (|| status(404), ErrorKind::Config, "there is no token endpoint at the token URL (HTTP 404)"),
        (
            || status(302).header("location", "https://login.example/x"),
            ErrorKind::Config,
            "the token endpoint redirects, which is not followed (HTTP 302)",
        ),
        (
            || body(200, "{\"error\":\"invalid_client\"}"),
            ErrorKind::Unauthenticated,
            "the token endpoint refused the credentials (HTTP 200): invalid_client",
        ),
    ] {
        let script = Script::new(move |_, _| reply());
        let error = get(&client_of(&script)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("test: sign-in failed: {text}"));
        assert_eq!((error.kind(), error.is_retryable()), (kind, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_of_the_token_endpoint_holds_back_the_account() {
    let script = Script::new(|n, call| match () {
        () if n == 0 => status(429).header("retryafter", "60"),
        () if is_token(call) => token(n),
        () => ok(),
    });
    let dialect = Dialect::new().with_retry_after(&["retryafter"]);
    let client = builder(&script).auth(oauth()).dialect(dialect).build().unwrap();
    let (first, second) = tokio::join!(get(&client), async {
        sleep(SECOND).await;
        get(&client).await
    });
    first.and(second).unwrap();
    assert_eq!(script.times(), [0, 60_000, 60_000, 60_000]);
    assert_eq!(script.count("/token/"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_token_endpoint_ends_in_a_timeout_for_all() {
    let script = Script::new(|_, _| ok().after(SECOND * 1_000));
    let policy = Policy::default().with_max_attempts(1).with_concurrency(32);
    let client = builder(&script).auth(oauth()).policy(policy).build().unwrap();
    assert_eq!(at_once(&client, 32).await, [ErrorKind::Timeout; 32]);
    assert_eq!(script.calls().len(), 1);
}
