//! No secret is printed anywhere.

use std::sync::Arc;

use crate::{log, script::*};
use charging_sessions_core::ErrorKind;
use charging_sessions_http::{
    MemoryTokenStore, OAuth2, Policy, StaticHeader, StoredToken,
    http::{HeaderName, HeaderValue, header},
};

const SECRETS: [&str; 6] =
    ["s3cret-client", "s3cret-access", "s3cret-refresh", "s3cret-next", "s3cret-key", "s3cret-query"];

fn assert_clean(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what}: {text}");
    }
    // Basic credentials of `id`.
    assert!(!text.contains("aWQ6czNjcmV0"), "{what}: {text}");
}

fn oauth() -> OAuth2 {
    let url = "https://login.example/token?tenant=s3cret-query".parse().unwrap();
    OAuth2::refresh_token(url, "id", Some("s3cret-client".into()), "s3cret-refresh".into())
}

#[tokio::test(start_paused = true)]
async fn no_secret_reaches_an_error_a_debug_text_or_the_log() {
    // A provider that says everything it was sent.
    let script = Script::new(|n, call| {
        let echo = |code| {
            let said = format!(
                "{:?} {} {}",
                call.headers.get("authorization").map(|v| v.to_str()),
                call.body,
                call.uri
            );
            let problem = serde_json::json!({"title": said, "detail": said, "field_errors": {&said: [said]}});
            body(code, &problem.to_string()).header("x-echo", "s3cret-access")
        };
        let issued = r#"{"access_token":"s3cret-access","refresh_token":"s3cret-next","expires_in":3600}"#;
        match n {
            0 => echo(503),
            1 => body(200, issued),
            2 => echo(503),
            3 => echo(401),
            // The refresh token in the store, and then the configured one.
            4 | 5 => echo(403),
            _ => unreachable!(),
        }
    });
    let auth = oauth();
    let client = builder(&script).auth(auth.clone()).build().unwrap();
    let request = client.get("items", &[("q", "s3cret-query".into())]).unwrap();
    let error = client.send(request, list).await.unwrap_err();
    assert_eq!(script.calls().len(), 6);
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    for (what, text) in [
        ("error", error.to_string()),
        ("error", format!("{error:?} {error:#?}")),
        ("client", format!("{client:?} {client:#?}")),
        ("authenticator", format!("{auth:?}")),
    ] {
        if what == "error" {
            assert!(text.contains("[redacted]"), "{text}");
            // What the caller put into the query itself was said by the provider; only credentials are known here.
            assert_clean(what, &text.replace("s3cret-query", ""));
        } else {
            assert_clean(what, &text);
        }
    }
    let log = log::taken();
    assert_clean("log", &log);
    for expected in [
        "trying again",
        "wait_ms=500",
        "reason=\"unavailable\"",
        "status=503",
        "path=\"/v2/items\"",
        "provider=\"test\"",
        "giving up",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(!log.contains('?') && !log.contains("login.example"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn what_a_request_carried_is_redacted_whatever_the_sign_in_knows() {
    let script = Script::new(|n, _| match n {
        0 => body(200, r#"{"access_token":"s3cret-access","refresh_token":"s3cret-next","expires_in":3600}"#),
        _ => body(400, "s3cret-client s3cret-refresh s3cret-next s3cret-access s3cret-key"),
    });
    let mut key = HeaderValue::from_static("s3cret-key");
    key.set_sensitive(true);
    let client =
        builder(&script).auth(oauth()).header(HeaderName::from_static("x-api-key"), key).build().unwrap();
    let error = get(&client).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "test: the provider refused the request (HTTP 400): [redacted] [redacted] [redacted] [redacted] [redacted]"
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_holds_is_not_quoted_by_a_reader() {
    let script = Script::new(|_, _| body(200, r#"{"name":"s3cret-key"}"#));
    let error = get(&client(&script, Policy::default().with_max_attempts(1))).await.unwrap_err();
    assert_clean("error", &format!("{error} {error:?}"));
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let token = StoredToken::new("s3cret-access".into(), Some("s3cret-refresh".into()), None);
    let store = MemoryTokenStore::new(Some(token.clone()));
    let script_less = [
        format!("{token:?}"),
        format!("{store:?}"),
        format!("{:?}", oauth().store(Arc::new(store))),
        format!("{:?}", StaticHeader::bearer(&"s3cret-key".into())),
        format!("{:?}", StaticHeader::basic("id", &"s3cret-key".into())),
        format!("{:?}", StaticHeader::new(HeaderName::from_static("x-api-key"), "s3cret-key".into())),
    ];
    for text in script_less {
        assert_clean("debug", &text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_request_hides_its_header_from_debug() {
    let script = Script::new(|_, _| ok());
    for auth in [
        StaticHeader::basic("id", &"s3cret-key".into()),
        StaticHeader::new(HeaderName::from_static("x-api-key"), "s3cret-key".into()),
    ] {
        get(&builder(&script).auth(auth).build().unwrap()).await.unwrap();
    }
    let calls = script.calls();
    assert!(calls[0].headers[header::AUTHORIZATION].is_sensitive());
    for call in calls {
        assert_clean("headers", &format!("{:?}", call.headers));
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_no_header_can_carry_is_a_matter_of_configuration() {
    let script = Script::new(|_, _| ok());
    let client = builder(&script).auth(StaticHeader::bearer(&"s3cret-key\n".into())).build().unwrap();
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_clean("error", &format!("{error:?}"));
    assert_eq!(script.calls().len(), 0);
}
