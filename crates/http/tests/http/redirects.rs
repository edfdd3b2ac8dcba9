//! Where requests may go.

use charging_sessions_core::ErrorKind;
use charging_sessions_http::{Bytes, Policy, Quota, StaticHeader, http::Method};

use crate::script::*;

fn to(code: u16, location: &str) -> Reply {
    status(code).header("location", location)
}

#[tokio::test(start_paused = true)]
async fn a_redirect_within_the_origin_is_followed_signed_and_paid_for() {
    for code in [301, 302, 303, 307, 308] {
        let script = Script::new(move |n, _| match n {
            0 => to(code, "/v2/b?page=2#top"),
            1 => to(code, "https://API.example:443/v2/c"),
            2 => to(code, "d/../e"),
            _ => ok(),
        });
        let policy = Policy::default().with_quota(Some(Quota::new(2, SECOND * 10)));
        let auth = StaticHeader::bearer(&"t0ken".into());
        let client = builder(&script).policy(policy).auth(auth).build().unwrap();
        get_path(&client, "a").await.unwrap();
        let calls = script.calls();
        let uris: Vec<&str> = calls.iter().map(|call| call.uri.as_str()).collect();
        assert_eq!(
            uris,
            [
                "https://api.example/v2/a",
                "https://api.example/v2/b?page=2",
                "https://api.example/v2/c",
                "https://api.example/v2/e"
            ]
        );
        assert!(calls.iter().all(|call| call.bearer() == "t0ken" && call.method == "GET"));
        assert_eq!(script.times(), [0, 0, 10_000, 10_000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_origin_is_refused_and_named_without_its_query() {
    for (location, there) in [
        ("https://evil.example/v2/x?token=abc", "https://evil.example"),
        ("//evil.example/x", "https://evil.example"),
        ("http://api.example/v2/a", "http://api.example"),
        ("https://api.example:444/", "https://api.example:444"),
        ("https://api.example@evil.example/", "https://evil.example"),
    ] {
        let script = Script::new(move |_, _| to(302, location));
        let client = builder(&script).auth(StaticHeader::bearer(&"t0ken".into())).build().unwrap();
        let error = get(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Protocol, false));
        assert_eq!(
            error.to_string(),
            format!("test: a redirect from https://api.example to {there} is not followed (HTTP 302)")
        );
        assert_eq!(script.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_and_a_password_in_a_redirect_are_dropped() {
    let script = Script::new(|n, _| if n == 0 { to(302, "https://u:p@api.example/x") } else { ok() });
    get(&client(&script, Policy::default())).await.unwrap();
    assert_eq!(script.calls()[1].uri, "https://api.example/x");
}

#[tokio::test(start_paused = true)]
async fn redirects_without_end_or_without_an_address_are_refused() {
    let script = Script::new(|n, _| to(302, &format!("/{n}")));
    let error = get(&client(&script, Policy::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "test: more than 5 redirects in a row (HTTP 302)");
    assert_eq!(script.calls().len(), 6);
    for reply in [(|| status(302)) as fn() -> Reply, || to(302, "https://[")] {
        let script = Script::new(move |_, _| reply());
        let error = get(&client(&script, Policy::default())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(script.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_share_the_time_limit_of_the_attempt() {
    let script = Script::new(|n, _| to(302, &format!("/{n}")).after(SECOND * 20));
    let error = get(&client(&script, Policy::default().with_max_attempts(1))).await.unwrap_err();
    assert_eq!((error.kind(), script.times()), (ErrorKind::Timeout, vec![0, 20_000]));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_of_another_method_is_not_followed() {
    let script = Script::new(|_, _| to(307, "/x"));
    let client = client(&script, Policy::default());
    let request = client.request(Method::POST, "x", &[], Bytes::from_static(b"{}")).unwrap();
    let error = client.send(request, list).await.unwrap_err();
    assert_eq!(error.to_string(), "test: a redirect of a POST request is not followed (HTTP 307)");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_another_origin_is_not_sent() {
    let script = Script::new(|_, _| ok());
    let client = builder(&script).auth(StaticHeader::bearer(&"t0ken".into())).build().unwrap();
    for uri in [
        "https://evil.example/v2/items",
        "http://api.example/v2/items",
        "https://api.example:8443/v2/items",
        "https://api.example@evil.example/",
        "https://me:pw@api.example/v2/",
        "/v2/items",
    ] {
        let mut request = client.get("items", &[]).unwrap();
        *request.uri_mut() = uri.parse().unwrap();
        let error = client.send(request, list).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{uri}");
    }
    assert_eq!(script.calls().len(), 0);
}
