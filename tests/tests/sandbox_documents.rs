//! What the sandboxes answer, held against the documents in `specs/`.
//!
//! Both are ours, but a sandbox is read here by nothing of ours: a validator of JSON Schema decides. It works in
//! both directions, since an object may have no property that the document does not know.

mod documents;

use std::{cell::RefCell, collections::BTreeSet, io, time::Duration};

use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault,
    der_connect::DerConnectSandbox,
    ev_energy::{EvEnergySandbox, PriceShape},
    evcc::EvccSandbox,
    ocpi::{Module, OcpiSandbox},
    podero::PoderoSandbox,
};
use documents::Document;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [0, 7, 42];
const HOUR: Duration = Duration::from_secs(3600);

/// `client:secret`.
const BASIC: &str = "Basic Y2xpZW50OnNlY3JldA==";
const FORM: (&str, &str) = ("application/x-www-form-urlencoded", "grant_type=client_credentials");

/// Asks a sandbox, and holds each answer against the document.
struct Reader<'a, F> {
    document: &'a Document,
    /// What was answered as described.
    seen: &'a RefCell<BTreeSet<(String, u16)>>,
    call: F,
    token: String,
}

impl<'a, F: AsyncFn(Request<Bytes>) -> io::Result<Response<Bytes>>> Reader<'a, F> {
    async fn new(
        document: &'a Document,
        seen: &'a RefCell<BTreeSet<(String, u16)>>,
        call: F,
        token_path: &str,
        (media, grant): (&str, &'static str),
    ) -> Self {
        let request = Request::post(token_path)
            .header(header::AUTHORIZATION, BASIC)
            .header(header::CONTENT_TYPE, media)
            .body(Bytes::from(grant))
            .unwrap();
        let answer: Value = serde_json::from_slice(call(request).await.unwrap().body()).unwrap();
        let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        Self { document, seen, call, token }
    }

    /// Asks, with an access token unless `headers` bring their own word on it.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header(header::AUTHORIZATION, &self.token);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = request.body(body).unwrap();
        let answer = (self.call)(request.clone()).await.unwrap();
        let operation = self.document.check(&request, &answer).unwrap_or_else(|error| panic!("{error}"));
        self.seen.borrow_mut().insert((operation, answer.status().as_u16()));
        answer
    }

    /// What is at this address.
    async fn get(&self, path: &str) -> (HeaderMap, Value) {
        let answer = self.ask(Method::GET, path, &[], &Value::Null).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let body = serde_json::from_slice(answer.body()).unwrap();
        (answer.into_parts().0.headers, body)
    }

    /// Asks for what is refused.
    async fn refused(&self, status: u16, method: Method, path: &str, headers: &[(&str, &str)]) {
        let answer = self.ask(method, path, headers, &Value::Null).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

/// Nothing that is described may stay unseen, or nobody would notice that it is no longer served.
fn assert_all_seen(document: &Document, seen: &RefCell<BTreeSet<(String, u16)>>) {
    let described: BTreeSet<_> = document.described().into_iter().collect();
    let unseen: Vec<_> = described.difference(&seen.borrow()).cloned().collect();
    assert_eq!(unseen, [], "described, but never answered");
}

fn texts<'a>(records: &'a Value, field: &'a str) -> impl Iterator<Item = &'a str> {
    records.as_array().unwrap().iter().map(move |record| record[field].as_str().unwrap())
}

#[tokio::test]
async fn ev_energy_answers_as_described() {
    const SUB_SESSION: [&str; 20] = [
        "evse",
        "evse.latest_status_log",
        "evse.model",
        "evse.model.make",
        "evse.user",
        "vehicle",
        "vehicle.latest_status_log",
        "vehicle.trim",
        "vehicle.trim.model",
        "vehicle.trim.model.make",
        "vehicle.user",
        "energy_usage",
        "schedules",
        "assessment",
        "flags",
        "debug_metadata",
        "tariff",
        "tariff.supplier",
        "carbon_feed",
        "grid_feeds",
    ];
    const SUB_SESSIONS: &str = "/v2/charging_sub_sessions";
    const PLUG_INS: &str = "/v2/charging_sessions";
    const TOKEN: &str = "/o/token/";
    let (document, seen) = (Document::of("ev-energy"), RefCell::default());
    for seed in SEEDS {
        let shape = if seed == 0 { PriceShape::Object } else { PriceShape::List };
        let sandbox = EvEnergySandbox::builder().seed(seed).days(40).dirt(false).price_shape(shape);
        let sandbox = sandbox.credentials("client", "secret").rate_limit(1_000_000, HOUR).build();
        let call = async |request| sandbox.call(request).await;
        let reader = Reader::new(&document, &seen, call, TOKEN, FORM).await;

        let expand_all: String = SUB_SESSION.iter().map(|path| format!("&expand={path}")).collect();
        let all_of_plug_in = "&expand=vehicle&expand=evse&expand=sub_sessions";
        let mut ids = Vec::new();
        for (listing, expand) in
            [(SUB_SESSIONS, ""), (SUB_SESSIONS, &*expand_all), (PLUG_INS, ""), (PLUG_INS, all_of_plug_in)]
        {
            let mut query = Some(format!("page_size=9{expand}"));
            while let Some(asked) = query {
                let (headers, page) = reader.get(&format!("{listing}?{asked}")).await;
                ids.extend(texts(&page, "id").map(|id| format!("{listing}/{id}")));
                query = charging_sessions_http::link::next(&headers).unwrap();
            }
        }
        let expected =
            sandbox.truth().as_array().unwrap().len() + sandbox.plug_in_truth().as_array().unwrap().len();
        assert_eq!(ids.len(), 2 * expected, "each of them, once linked and once expanded");
        for expand in SUB_SESSION {
            reader.get(&format!("{SUB_SESSIONS}?page_size=100&expand={expand}")).await;
        }

        let one_of_each = [&ids[0], ids.last().unwrap()].map(Clone::clone);
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            reader.get(id).await;
            if id.starts_with(PLUG_INS) {
                reader.get(&format!("{id}?{all_of_plug_in}")).await;
                continue;
            }
            reader.get(&format!("{id}?{expand_all}")).await;
            reader.get(&format!("{id}/energy_usage")).await;
            let merged = "merge_consecutive_intervals=true&energy_delivered_watt_hours__gt=0";
            reader.get(&format!("{id}/energy_usage?{merged}")).await;
            for part in ["schedules", "flags"] {
                reader.get(&format!("{id}/{part}")).await;
                reader.get(&format!("{id}/{part}?expand=charging_sub_session")).await;
            }
        }

        let [sub_session, plug_in] = one_of_each;
        let parts = ["energy_usage", "schedules", "flags"].map(|part| format!("{sub_session}/{part}"));
        let singles: Vec<String> = [sub_session, plug_in].into_iter().chain(parts).collect();
        for single in &singles {
            reader.refused(404, Method::GET, &single.replace("01", "99"), &[]).await;
        }
        let limited = EvEnergySandbox::builder().credentials("client", "secret").rate_limit(0, HOUR).build();
        let call = async |request| limited.call(request).await;
        let limited = Reader::new(&document, &seen, call, TOKEN, FORM).await;
        for path in [SUB_SESSIONS, PLUG_INS].into_iter().chain(singles.iter().map(String::as_str)) {
            reader.refused(400, Method::GET, &format!("{path}?expand=everything"), &[]).await;
            reader.refused(400, Method::GET, path, &[("evenergy-version", "3")]).await;
            reader.refused(401, Method::GET, path, &[("authorization", "Bearer unknown")]).await;
            reader.refused(403, Method::GET, path, &[("authorization", "")]).await;
            reader.refused(406, Method::GET, path, &[("accept", "text/html")]).await;
            limited.refused(429, Method::GET, path, &[]).await;
        }
        for wrong in ["page_size=101", "page_after=x", "start__gt=x", "mode=FAST", "is_finished=x"] {
            reader.refused(400, Method::GET, &format!("{SUB_SESSIONS}?{wrong}"), &[]).await;
        }
    }
    assert_all_seen(&document, &seen);
}

#[tokio::test]
async fn podero_answers_as_described() {
    const GRANT: (&str, &str) = ("application/json", r#"{"grant_type":"client_credentials"}"#);
    const TOKEN: &str = "/oauth2/token/";
    let (document, seen) = (Document::of("podero"), RefCell::default());
    for seed in SEEDS {
        let sandbox = PoderoSandbox::builder().seed(seed).dirt(false).credentials("client", "secret");
        let limited = sandbox.clone().rate_limit(0, HOUR).build();
        let sandbox = sandbox.build();
        let call = async |request| sandbox.call(request).await;
        let reader = Reader::new(&document, &seen, call, TOKEN, GRANT).await;
        let call = async |request| limited.call(request).await;
        let limited = Reader::new(&document, &seen, call, TOKEN, GRANT).await;

        let users = format!("/api/partners/v2.0/org/{}/users", sandbox.org_id());
        let (_, everybody) = reader.get(&format!("{users}?include_deleted=true")).await;
        let (_, listed) = reader.get(&users).await;
        assert!(everybody.as_array().unwrap().len() > listed.as_array().unwrap().len());
        let mut paths = vec![users.clone()];
        let mut read = 0;
        for user in texts(&listed, "id") {
            let vehicles = format!("{users}/{user}/electric-vehicles");
            let (_, listed) = reader.get(&vehicles).await;
            for vehicle in texts(&listed, "id") {
                let sessions = format!("{vehicles}/{vehicle}/sessions");
                reader.get(&format!("{sessions}/current")).await;
                for hidden in [false, true] {
                    let mut offset = 0;
                    loop {
                        let query = format!(
                            "from=2020-01-01&to=2030-01-01&limit=7&offset={offset}&include_hidden={hidden}"
                        );
                        let (_, page) = reader.get(&format!("{sessions}?{query}")).await;
                        let items = page["items"].as_array().unwrap().len();
                        if items == 0 {
                            break;
                        }
                        offset += items;
                        read += items * usize::from(hidden);
                    }
                }
                paths =
                    vec![users.clone(), vehicles.clone(), sessions.clone(), format!("{sessions}/current")];
            }
        }
        assert_eq!(read, sandbox.truth().as_array().unwrap().len());

        for path in &paths {
            reader.refused(401, Method::GET, path, &[("authorization", "")]).await;
            reader.refused(404, Method::GET, &path.replace(sandbox.org_id(), "unknown"), &[]).await;
            limited.refused(429, Method::GET, path, &[]).await;
        }
        reader.refused(422, Method::GET, &format!("{users}?include_deleted=x"), &[]).await;
        for wrong in ["", "from=x&to=2026-01-01", "from=2026-01-01&to=2026-01-01&limit=201"] {
            reader.refused(422, Method::GET, &format!("{}?{wrong}", paths[2]), &[]).await;
        }
    }
    assert_all_seen(&document, &seen);
}

#[tokio::test]
async fn der_connect_answers_as_described() {
    const ENTITIES: &str = "/connect/v1/entities";
    const TOKEN: &str = "/am/oauth2/realms/root/realms/difesp/access_token";
    let (document, seen) = (Document::of("der-connect"), RefCell::default());
    for seed in SEEDS {
        let sandbox = DerConnectSandbox::builder().seed(seed).dirt(false).older_envelope(seed == 0);
        let sandbox = sandbox.credentials("client", "secret");
        let limited = sandbox.clone().rate_limit(0, HOUR).build();
        let sandbox = sandbox.build();
        let call = async |request| sandbox.call(request).await;
        let reader = Reader::new(&document, &seen, call, TOKEN, FORM).await;
        let call = async |request| limited.call(request).await;
        let limited = Reader::new(&document, &seen, call, TOKEN, FORM).await;

        let walk = async |listing: String| {
            let (mut token, mut records) = (String::new(), Vec::new());
            loop {
                let (_, page) = reader.get(&format!("{listing}&continuationToken={token}")).await;
                records.extend(page["data"].as_array().cloned().unwrap_or_default());
                match page["meta"]["continuationToken"].as_str() {
                    Some(next) if !next.is_empty() => token = next.to_owned(),
                    _ => return Value::from(records),
                }
            }
        };
        let entities = walk(format!("{ENTITIES}?pageSize=2")).await;
        assert_eq!(texts(&entities, "id").collect::<Vec<_>>(), sandbox.entity_ids());
        let mut read = 0;
        for entity in texts(&entities, "id") {
            let sessions =
                walk(format!("{ENTITIES}/{entity}/charge-sessions?start=2020-01-01T00:00:00Z&pageSize=9"));
            read += sessions.await.as_array().unwrap().len();
            for enabled in [true, false] {
                let body = json!({ "feature": "CaptureChargeSessions", "enabled": enabled });
                reader.ask(Method::PATCH, &format!("{ENTITIES}/{entity}/features"), &[], &body).await;
            }
        }
        assert_eq!(read, sandbox.truth().as_array().unwrap().len());

        let sessions = format!("{ENTITIES}/{}/charge-sessions", sandbox.entity_ids()[0]);
        let unknown = format!("{ENTITIES}/unknown/charge-sessions?start=2020-01-01T00:00:00Z");
        reader.refused(404, Method::GET, &unknown, &[]).await;
        for path in [ENTITIES, &sessions] {
            reader.refused(400, Method::GET, &format!("{path}?pageSize=0"), &[]).await;
            reader.refused(401, Method::GET, path, &[("authorization", "")]).await;
            limited.refused(429, Method::GET, path, &[]).await;
        }
        let features = sessions.replace("charge-sessions", "features");
        reader.refused(400, Method::PATCH, &features, &[]).await;
        reader.refused(401, Method::PATCH, &features, &[("authorization", "")]).await;
        reader.refused(404, Method::PATCH, &format!("{ENTITIES}/unknown/features"), &[]).await;
        limited.refused(429, Method::PATCH, &features, &[]).await;
    }
    assert_all_seen(&document, &seen);
}

#[tokio::test]
async fn evcc_answers_as_described() {
    const SESSIONS: &str = "/api/sessions";
    const STATE: &str = "/api/state";
    const TOKEN: &str = "Bearer t0ken";
    let (document, seen) = (Document::of("evcc"), RefCell::default());
    for seed in SEEDS {
        for dirt in [false, true] {
            let sandbox =
                EvccSandbox::builder().seed(seed).dirt(dirt).wrapped(seed == 7).bearer("t0ken").build();
            let call = async |request| sandbox.call(request).await;
            let reader = Reader { document: &document, seen: &seen, call, token: TOKEN.to_owned() };
            let (_, listed) = reader.get(SESSIONS).await;
            let listed = if seed == 7 { &listed["result"] } else { &listed };
            assert_eq!(listed.as_array().unwrap().len(), sandbox.truth().as_array().unwrap().len());
            for query in ["year=2026", "year=2026&month=10", "year=1999"] {
                reader.get(&format!("{SESSIONS}?{query}")).await;
            }
            reader.get(STATE).await;
            for path in [SESSIONS, STATE] {
                reader.refused(401, Method::GET, path, &[("authorization", "")]).await;
            }
            for (status, said) in [(400, "database offline"), (500, "disk I/O error")] {
                let body = json!({ "error": said }).to_string();
                sandbox.inject(Fault::status(status).body("application/json", body));
                reader.refused(status, Method::GET, SESSIONS, &[]).await;
            }
        }
    }
    assert_all_seen(&document, &seen);
}

#[tokio::test]
async fn ocpi_answers_as_described() {
    // `t0ken-of-the-test`, as it is and in Base64.
    const RAW: &str = "t0ken-of-the-test";
    const ENCODED: &str = "Token dDBrZW4tb2YtdGhlLXRlc3Q=";
    let (document, seen) = (Document::of("ocpi"), RefCell::default());
    let call = async |sandbox: &OcpiSandbox, mut request: Request<Bytes>| {
        for name in ["x-request-id", "x-correlation-id"] {
            request.headers_mut().insert(name, "1".parse().unwrap());
        }
        sandbox.call(request).await
    };
    for seed in SEEDS {
        let sandbox = OcpiSandbox::builder().seed(seed).dirt(false).token(RAW);
        let limited = sandbox.clone().rate_limit(0, HOUR).build();
        let sandbox = sandbox.build();
        for version in ["2.1.1", "2.2.1", "2.3.0"] {
            let token = if version == "2.1.1" { format!("Token {RAW}") } else { ENCODED.to_owned() };
            let call_it = async |request| call(&sandbox, request).await;
            let reader = Reader { document: &document, seen: &seen, call: call_it, token: token.clone() };
            let call_it = async |request| call(&limited, request).await;
            let limited = Reader { document: &document, seen: &seen, call: call_it, token };
            reader.get("/ocpi/versions").await;
            let mut paths = vec!["/ocpi/versions".to_owned(), format!("/ocpi/{version}")];
            reader.get(&paths[1]).await;
            for (name, module) in [("sessions", Module::Sessions), ("cdrs", Module::Cdrs)] {
                let path = format!("/ocpi/{version}/{name}");
                let (mut offset, truth) = (0, sandbox.truth(module));
                loop {
                    let query = format!("date_from=2014-01-01T00:00:00Z&limit=9&offset={offset}");
                    let (_, page) = reader.get(&format!("{path}?{query}")).await;
                    let records = page["data"].as_array().unwrap().len();
                    if records == 0 {
                        break;
                    }
                    offset += records;
                }
                assert_eq!(offset, truth.as_array().unwrap().len());
                for wrong in ["limit=0", "offset=x", "date_from=yesterday", "date_to=x"] {
                    reader.refused(400, Method::GET, &format!("{path}?{wrong}"), &[]).await;
                }
                paths.push(path);
            }
            for path in &paths {
                reader.refused(401, Method::GET, path, &[("authorization", "Token other")]).await;
                limited.refused(429, Method::GET, path, &[]).await;
            }
        }
    }
    assert_all_seen(&document, &seen);
}

/// The examples are what a mock server answers with, and what people read.
#[test]
fn the_documents_examples_fit_their_schemas() {
    for provider in ["der-connect", "ev-energy", "evcc", "ocpi", "podero"] {
        let document = Document::of(provider);
        let examples = document.examples();
        assert!(examples.len() > 1, "{provider} has examples");
        for (schema, example) in examples {
            assert_eq!(document.errors(&schema, example), [] as [String; 0], "{provider}, {schema}");
        }
    }
}

/// A validator that finds nothing proves nothing.
#[test]
fn a_wrong_answer_is_refused() {
    let document = Document::of("podero");
    let path = "/api/partners/v2.0/org/o/users/u/electric-vehicles/v/sessions";
    let (_, page) = document.examples().into_iter().find(|(_, example)| example["total"] == 1).unwrap();
    let check = |method: Method, path: &str, status: u16, media: &str, body: &Value| {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        let answer = Response::builder().status(status).header(header::CONTENT_TYPE, media);
        document.check(&request, &answer.body(body.to_string().into()).unwrap())
    };
    let get = |status: u16, media: &str, body: &Value| check(Method::GET, path, status, media, body);
    assert_eq!(get(200, "application/json", page).as_deref(), Ok("listSessions"));

    let with = |pointer: &str, value: Value| {
        let mut page = page.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match page.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
        get(200, "application/json", &page).unwrap_err()
    };
    for (error, part) in [
        (with("/items/0/plug_in_time", json!("yesterday")), "/items/0/plug_in_time"),
        (with("/items/0/energy_charged_kwh", json!("27.4")), "/items/0/energy_charged_kwh"),
        (with("/items/0/session_outcome", json!("grid_event")), "/items/0/session_outcome"),
        (with("/items/0/surprise", json!(null)), "surprise"),
        (with("/items/0", json!({})), "required"),
        (with("/surprise", json!(1)), "surprise"),
        (get(418, "application/json", page).unwrap_err(), "the status is not described"),
        (get(200, "text/html", page).unwrap_err(), "the content type"),
        (check(Method::POST, path, 200, "application/json", page).unwrap_err(), "is not described"),
        (check(Method::GET, "/elsewhere", 200, "application/json", page).unwrap_err(), "is not described"),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }

    // What is closed by a reference, inside a choice, and through a composition.
    let document = Document::of("ev-energy");
    let error = |schema: &str, body: Value| {
        document.errors(&format!("/components/schemas/{schema}"), &body).join("\n")
    };
    let tariff = |more: &str| {
        let mut tariff = json!({ "id": "tari01JVES8HB06R88ZV2VPCNXGXRZ", "url": "a:b", "supplier": "a:b", "name": "", "currency": "" });
        tariff[more] = Value::Null;
        error("Location", json!({ "tariff": tariff }))
    };
    assert_eq!(tariff("scheduler_tariff"), "");
    assert!(tariff("surprise").contains("surprise"), "{}", tariff("surprise"));
}
