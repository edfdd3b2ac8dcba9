//! The OCPI sandbox answers like the standard says, and goes wrong in the ways it promises.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault,
    ocpi::{Links, Module, Mutation, OcpiSandbox, OcpiSandboxBuilder, Order, TokenForm},
};
use http::{Request, Response};
use serde_json::{Value, json};

const SINCE: &str = "date_from=2014-01-01T00:00:00Z";

fn sandbox() -> OcpiSandboxBuilder {
    OcpiSandbox::builder().token("t0ken").days(20)
}

async fn ask(sandbox: &OcpiSandbox, path: &str, token: &str) -> Response<Bytes> {
    let request = Request::get(path)
        .header("authorization", format!("Token {token}"))
        .header("x-request-id", "1")
        .header("x-correlation-id", "1");
    sandbox.call(request.body(Bytes::new()).unwrap()).await.unwrap()
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// The answer to whoever writes the token as the path wants it.
async fn get(sandbox: &OcpiSandbox, path: &str) -> Response<Bytes> {
    let token = if path.contains("2.1.1") { "t0ken".to_owned() } else { BASE64_STANDARD.encode("t0ken") };
    ask(sandbox, path, &token).await
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let listing = async |seed| {
        let sandbox = sandbox().seed(seed).build();
        get(&sandbox, &format!("/ocpi/2.2.1/cdrs?{SINCE}")).await.into_body()
    };
    assert_eq!(listing(7).await, listing(7).await);
    assert_ne!(listing(7).await, listing(8).await);
}

#[tokio::test]
async fn a_token_is_taken_as_its_version_writes_it() {
    let encoded = BASE64_STANDARD.encode("t0ken");
    // What the worked example of the standard makes of it.
    let with_line_end = BASE64_STANDARD.encode("t0ken\n");
    let cases = [
        (TokenForm::ByVersion, "/ocpi/2.1.1", "t0ken", 200),
        (TokenForm::ByVersion, "/ocpi/2.1.1", &*encoded, 401),
        (TokenForm::ByVersion, "/ocpi/2.2.1", &*encoded, 200),
        (TokenForm::ByVersion, "/ocpi/2.3.0", "t0ken", 401),
        (TokenForm::ByVersion, "/ocpi/2.2.1", &*with_line_end, 401),
        (TokenForm::ByVersion, "/ocpi/versions", "t0ken", 200),
        (TokenForm::ByVersion, "/ocpi/versions", &*encoded, 200),
        (TokenForm::Raw, "/ocpi/2.2.1", "t0ken", 200),
        (TokenForm::Base64, "/ocpi/2.1.1", "t0ken", 401),
    ];
    for (form, path, token, status) in cases {
        let sandbox = sandbox().token_form(form).build();
        assert_eq!(ask(&sandbox, path, token).await.status(), status, "{form:?} {path} {token}");
    }
    let sandbox = sandbox().frank(false).build();
    let answer = ask(&sandbox, "/ocpi/2.2.1/cdrs", "not Base64!").await;
    assert_eq!((answer.status().as_u16(), body(&answer)["status_code"].as_i64()), (200, Some(3000)));
    let answer = ask(&sandbox, "/ocpi/2.2.1/cdrs", &BASE64_STANDARD.encode("other")).await;
    assert_eq!((answer.status().as_u16(), body(&answer)), (403, json!({"detail": "Forbidden"})));
}

#[tokio::test]
async fn a_request_without_its_identifiers_is_refused() {
    let sandbox = sandbox().build();
    let request =
        Request::get("/ocpi/2.1.1").header("authorization", "Token t0ken").body(Bytes::new()).unwrap();
    let answer = sandbox.call(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), body(&answer)["status_code"].as_i64()), (400, Some(2001)));
}

#[tokio::test]
async fn each_version_has_its_own_words() {
    let sandbox = sandbox().dirt(false).build();
    let first = async |path: &str| {
        body(&get(&sandbox, &format!("/ocpi/{path}?{SINCE}&limit=1")).await)["data"][0].take()
    };
    let old = first("2.1.1/sessions").await;
    assert!(
        old["start_datetime"].is_string() && old["total_cost"].is_number() && old["country_code"].is_null()
    );
    assert!(old["location"]["evses"][0]["connectors"][0]["id"].is_string());
    let old = first("2.1.1/cdrs").await;
    assert!(
        old["stop_date_time"].is_string() && old["end_date_time"].is_null() && old["session_id"].is_null()
    );
    let middle = first("2.2.1/cdrs").await;
    let latest = first("2.3.0/cdrs").await;
    assert_eq!(middle["total_cost"]["excl_vat"], latest["total_cost"]["before_taxes"]);
    assert!(latest["total_cost"]["taxes"][0]["amount"].is_number());
    for missing in ["/ocpi/2.0", "/ocpi/2.2.1/tokens", "/ocpi/2.0/cdrs"] {
        assert_eq!(get(&sandbox, missing).await.status(), 404, "{missing}");
    }
}

#[tokio::test]
async fn sessions_need_a_bound_since_2_2_and_bounds_are_kept() {
    let sandbox = sandbox().dirt(false).build();
    for (path, status) in [("2.1.1/sessions", 200), ("2.2.1/sessions", 400), ("2.2.1/cdrs", 200)] {
        assert_eq!(get(&sandbox, &format!("/ocpi/{path}")).await.status(), status, "{path}");
    }
    let truth = sandbox.truth(Module::Sessions);
    let at = truth[9]["last_updated"].as_str().unwrap();
    let has = async |version: &str, bounds: String| {
        let page = body(&get(&sandbox, &format!("/ocpi/{version}/sessions?{bounds}&limit=100")).await);
        page["data"].as_array().unwrap().iter().any(|record| record["id"] == truth[9]["id"])
    };
    assert!(has("2.2.1", format!("date_from={at}")).await, "included");
    assert!(!has("2.1.1", format!("date_from={at}")).await, "after");
    assert!(!has("2.2.1", format!("{SINCE}&date_to={at}")).await, "excluded");
}

#[tokio::test]
async fn links_are_written_as_asked_for() {
    let link = async |links: Links, offset: usize| {
        let sandbox = sandbox().links(links).build();
        let count = sandbox.truth(Module::Cdrs).as_array().unwrap().len();
        let answer =
            get(&sandbox, &format!("/ocpi/2.2.1/cdrs?{SINCE}&limit=5&offset={}", offset.min(count))).await;
        assert_eq!(answer.headers()["x-total-count"], count.to_string());
        answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned())
    };
    let right = link(Links::Right, 0).await.unwrap();
    assert!(right.contains("offset=5&limit=5>; rel=\"next\"") && right.contains("date_from"), "{right}");
    assert_eq!(link(Links::Right, usize::MAX).await, None);
    assert_eq!(link(Links::None, 0).await, None);
    assert!(link(Links::Unusable, 0).await.unwrap().contains("date_from=None"));
    assert_eq!(link(Links::Unusable, usize::MAX).await.as_deref(), Some(""));
    assert!(link(Links::ByWord, 0).await.unwrap().contains("?after=5>"));
}

#[tokio::test]
async fn records_are_listed_by_age_or_by_their_last_update() {
    for order in [Order::Created, Order::Updated] {
        let sandbox = sandbox().order(order).dirt(false).build();
        let id = sandbox.truth(Module::Sessions)[0]["id"].as_str().unwrap().to_owned();
        assert!(sandbox.mutate(Mutation::Correct(Module::Sessions, id.clone(), json!({"kwh": 1}))));
        let page = body(&get(&sandbox, &format!("/ocpi/2.2.1/sessions?{SINCE}&limit=1")).await);
        assert_eq!(page["data"][0]["id"] == id, order == Order::Created);
        assert!(sandbox.mutate(Mutation::Remove(Module::Sessions, id.clone())));
        assert!(!sandbox.mutate(Mutation::Remove(Module::Sessions, id)));
        assert!(!sandbox.mutate(Mutation::Insert(Module::Sessions, json!({"kwh": 1}))));
    }
}

#[tokio::test]
async fn what_is_promised_of_the_data_is_there() {
    let sandbox = OcpiSandbox::builder().build();
    let (sessions, cdrs) = (sandbox.truth(Module::Sessions), sandbox.truth(Module::Cdrs));
    let has = |records: &Value, text: &str| records.to_string().contains(text);
    for text in [
        "ACTIVE",
        "PENDING",
        "RESERVATION",
        "INVALID",
        "SUSPENDED",
        "\"#NA\"",
        "\"7.5\"",
        "12.299999999999999",
    ] {
        assert!(has(&sessions, text), "{text}");
    }
    for text in [
        "1970-1-1T",
        "NL-TNM-SUNSHINE",
        "COFFEE",
        "\"credit\":true",
        "total_discount",
        "OCMF",
        "\"volume\":-2",
    ] {
        assert!(has(&cdrs, text), "{text}");
    }
    let ids: BTreeSet<_> =
        sessions.as_array().unwrap().iter().map(|record| record["id"].to_string()).collect();
    assert_eq!(ids.len(), sessions.as_array().unwrap().len(), "no identifier comes twice");
}

#[tokio::test]
async fn faults_befall_listings_and_can_be_taken_back() {
    let sandbox = sandbox().rate_limit(2, Duration::from_secs(60)).build();
    let path = format!("/ocpi/2.2.1/cdrs?{SINCE}&limit=3");
    sandbox.inject(Fault::replace_record(1, json!(7)).on_path("cdrs"));
    sandbox.inject(Fault::status(503).times(9));
    assert_eq!(body(&get(&sandbox, &path).await)["data"][1], 7);
    assert_eq!(get(&sandbox, &path).await.status(), 503);
    sandbox.clear_faults();
    assert_eq!(sandbox.faults_waiting(), 0);
    assert_eq!(get(&sandbox, &path).await.status(), 200);
    let limited = get(&sandbox, &path).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["retry-after"], "60");
    assert_eq!(sandbox.requests().len(), 4);
}
