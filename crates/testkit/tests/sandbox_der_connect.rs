//! The DER-Connect sandbox answers like the facts say, and goes wrong in the ways it promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault,
    der_connect::{DerConnectSandbox, DerConnectSandboxBuilder, Mutation},
};
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const TOKEN: &str = "/am/oauth2/realms/root/realms/difesp/access_token";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const GRANT: &str = "grant_type=client_credentials&client_id=me&client_secret=s3cret";
const ALWAYS: &str = "start=2020-01-01T00:00:00Z";

/// Places in the list of entities.
const CAR: usize = 0;
const NO_CAPACITY: usize = 1;
const INCAPABLE: usize = 2;
const CHARGE_POINT: usize = 3;
const CP: usize = 4;
const BATTERY: usize = 5;
const UNKNOWN: usize = 6;

mod tokens {
    use super::*;

    fn mine() -> DerConnectSandboxBuilder {
        DerConnectSandbox::builder().credentials("me", "s3cret")
    }

    #[tokio::test]
    async fn a_form_gives_a_token_and_so_does_basic() {
        let sandbox = mine().build();
        let rest = json!({ "access_token": null, "expires_in": 3600, "token_type": "Bearer" });
        for (credentials, form) in [(None, GRANT), (Some("me:s3cret"), "grant_type=client_credentials")] {
            let response = token(&sandbox, credentials, FORM, form).await;
            assert_eq!(response.status(), 200);
            let mut answer = body(&response);
            assert!(answer["access_token"].take().is_string());
            assert_eq!(answer, rest);
        }
        assert_eq!(sandbox.token_requests(), 2);
    }

    #[tokio::test]
    async fn wrong_credentials_are_refused() {
        let sandbox = mine().build();
        for (credentials, form) in [
            (None, "grant_type=client_credentials&client_id=me&client_secret=other"),
            (None, "grant_type=client_credentials&client_id=you&client_secret=s3cret"),
            (None, "grant_type=client_credentials&client_id=me"),
            (None, "grant_type=client_credentials"),
            (Some("me:other"), "grant_type=client_credentials"),
        ] {
            let response = token(&sandbox, credentials, FORM, form).await;
            assert_eq!(response.status(), 401, "{credentials:?} {form}");
            assert_eq!(body(&response), json!({ "error": "invalid_client" }));
        }
    }

    #[tokio::test]
    async fn another_grant_or_another_content_type_is_a_bad_request() {
        let sandbox = mine().build();
        for (kind, text, error) in [
            (FORM, "grant_type=password&client_id=me&client_secret=s3cret", "unsupported_grant_type"),
            (FORM, "client_id=me&client_secret=s3cret", "unsupported_grant_type"),
            (JSON, GRANT, "invalid_request"),
        ] {
            let response = token(&sandbox, None, kind, text).await;
            assert_eq!(response.status(), 400, "{kind} {text}");
            assert_eq!(body(&response), json!({ "error": error }), "{kind} {text}");
        }
    }

    #[tokio::test]
    async fn a_scope_that_is_set_must_be_asked_for() {
        let sandbox = mine().scope(Some("esp")).build();
        for form in [GRANT.to_owned(), format!("{GRANT}&scope=other")] {
            let response = token(&sandbox, None, FORM, &form).await;
            assert_eq!(response.status(), 400);
            assert_eq!(body(&response), json!({ "error": "invalid_scope" }));
        }
        let response = token(&sandbox, None, FORM, &format!("{GRANT}&scope=other+esp")).await;
        assert_eq!(body(&response)["scope"], "esp");
        let sandbox = mine().scope(None).build();
        assert_eq!(token(&sandbox, None, FORM, &format!("{GRANT}&scope=esp")).await.status(), 200);
    }

    #[tokio::test]
    async fn data_needs_a_token_that_is_known() {
        let mut client = Client::new(DerConnectSandbox::builder()).await;
        for bearer in ["", "Bearer nonsense", "Basic bWU6czNjcmV0"] {
            client.bearer = bearer.to_owned();
            for path in ["/connect/v1/entities".to_owned(), client.listing(CAR, ALWAYS)] {
                assert_eq!(client.problem(401, &path).await, "Unauthorized", "{bearer:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_after_its_lifetime() {
        let client = Client::new(DerConnectSandbox::builder().token_lifetime(Duration::from_secs(60))).await;
        let path = client.listing(CAR, ALWAYS);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(client.get(&path).await.status(), 200);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(client.problem(401, &path).await, "Unauthorized");
    }
}

mod listings {
    use super::*;

    #[tokio::test]
    async fn entities_are_listed_with_known_and_unknown_types() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for size in [1, 3, 7, 25] {
            let read = client.walk("/connect/v1/entities", &format!("pageSize={size}")).await;
            assert_eq!(read.iter().map(id).collect::<Vec<_>>(), client.sandbox.entity_ids(), "{size}");
            let types: Vec<_> = read.iter().map(|it| it["type"].as_str().unwrap()).collect();
            assert_eq!(types, ["EV", "EV", "EV", "ChargePoint", "CP", "Battery", "Heatpump2"]);
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_are_complete_and_ordered_by_their_start() {
        let client = Client::new(DerConnectSandbox::builder().seed(3).dirt(false)).await;
        for entity in [CAR, NO_CAPACITY, CHARGE_POINT, CP] {
            let truth = client.truth(entity);
            assert!(truth.len() > 15, "{entity}: {}", truth.len());
            assert!(truth.windows(2).all(|pair| start(&pair[0]) < start(&pair[1])));
            for size in ["", "&pageSize=1", "&pageSize=7", "&pageSize=25", "&pageSize=100", "&pageSize=999"] {
                let read = client.walk(&client.listing(entity, ""), &format!("{ALWAYS}{size}")).await;
                assert_eq!(read, truth, "{entity} {size}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_has_twenty_five_records_by_default_and_a_hundred_at_most() {
        let client = Client::new(DerConnectSandbox::builder().days(400).dirt(false)).await;
        for (query, size) in [("", 25), ("&pageSize=100", 100), ("&pageSize=101", 100), ("&pageSize=3", 3)] {
            let page = client.json(&client.listing(CAR, &format!("{ALWAYS}{query}"))).await;
            assert_eq!(list(&page["data"]).len(), size);
            assert_eq!(page["meta"]["pageSize"], size);
            let next = page["links"]["next"].as_str().unwrap();
            assert!(next.contains(page["meta"]["continuationToken"].as_str().unwrap()));
            assert!(next.contains("start=2020-01-01T00%3A00%3A00Z"), "{next}");
            assert_eq!(client.get(next).await.status(), 200);
        }
    }

    #[tokio::test]
    async fn a_page_cap_makes_pages_shorter_and_loses_nothing() {
        let client = Client::new(DerConnectSandbox::builder().dirt(false).page_cap(Some(4))).await;
        let page = client.json(&client.listing(CAR, &format!("{ALWAYS}&pageSize=50"))).await;
        assert_eq!(list(&page["data"]).len(), 4);
        let read = client.walk(&client.listing(CAR, ""), &format!("{ALWAYS}&pageSize=50")).await;
        assert_eq!(read, client.truth(CAR));
    }

    #[tokio::test]
    async fn start_is_included_and_end_is_not() {
        let client = Client::new(DerConnectSandbox::builder().dirt(false)).await;
        let truth = client.truth(CAR);
        let at = |index: usize| truth[index]["data"]["start"].as_str().unwrap().to_owned();
        let (from, to) = (at(3), at(6));
        let read = |query: String| {
            let path = client.listing(CAR, &query);
            let client = &client;
            async move { client.json(&path).await["data"].take() }
        };
        assert_eq!(list(&read(format!("start={from}&end={to}")).await), &truth[3..6]);
        let spaced = format!("start={}&end={}", from.replace('T', "%20"), to.replace('T', "+"));
        assert_eq!(list(&read(spaced).await), &truth[3..6]);
        // A session that began before is not there, although it ended later.
        let later = start(&truth[3]) + Duration::from_millis(1);
        let until = truth[4]["data"]["end"].as_str().unwrap();
        assert_eq!(list(&read(format!("start={later}&end={until}")).await), &truth[4..5]);
        let last = truth.len() - 1;
        assert_eq!(list(&read(format!("start={}", at(last))).await), &truth[last..]);
    }

    #[tokio::test]
    async fn nothing_is_null() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for entity in [INCAPABLE, BATTERY, UNKNOWN] {
            let page = client.json(&client.listing(entity, ALWAYS)).await;
            assert_eq!(page, json!({ "data": null, "links": {}, "meta": { "pageSize": 25 } }));
        }
        for query in ["start=2030-01-01T00:00:00Z", "start=2026-10-01T00:00:00Z&end=2026-09-01T00:00:00Z"] {
            assert_eq!(client.json(&client.listing(CAR, query)).await["data"], Value::Null, "{query}");
        }
    }

    #[tokio::test]
    async fn the_end_is_null_or_missing_or_empty() {
        let whole = format!("{ALWAYS}&pageSize=100");
        let client = Client::new(DerConnectSandbox::builder()).await;
        let page = client.json(&client.listing(CAR, &whole)).await;
        assert_eq!(page["links"], json!({ "next": null }));
        assert_eq!(page["meta"], json!({ "continuationToken": null, "pageSize": 100 }));
        let client = Client::new(DerConnectSandbox::builder().older_envelope(true)).await;
        for entity in [CAR, BATTERY] {
            let page = client.json(&client.listing(entity, &whole)).await;
            assert_eq!(page["links"], json!({ "next": "" }));
            assert_eq!(page["meta"], json!({ "continuationToken": "", "pageSize": 100 }));
        }
    }

    #[tokio::test]
    async fn parameters_that_cannot_be_used_are_a_bad_request() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for query in [
            "",
            "start=",
            "start=2026-10-01",
            "start=2026-10-01T00:00:00",
            "start=soon",
            "start=2026-10-01T00:00:00Z&end=later",
            "start=2026-10-01T00:00:00Z&pageSize=0",
            "start=2026-10-01T00:00:00Z&pageSize=-1",
            "start=2026-10-01T00:00:00Z&pageSize=many",
            "start=2026-10-01T00:00:00Z&continuationToken=garbage",
            "start=2026-10-01T00:00:00Z&continuationToken=%F0%9F%94%8C",
        ] {
            assert_eq!(client.problem(400, &client.listing(CAR, query)).await, "InvalidParameter", "{query}");
        }
        let path = "/connect/v1/entities?continuationToken=garbage";
        assert_eq!(client.problem(400, path).await, "InvalidParameter");
    }

    #[tokio::test]
    async fn a_continuation_token_belongs_to_its_entity_and_its_filter() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        let page = client.json(&client.listing(CAR, &format!("{ALWAYS}&pageSize=5"))).await;
        let token = page["meta"]["continuationToken"].as_str().unwrap();
        let path =
            |entity, query: &str| client.listing(entity, &format!("{query}&continuationToken={token}"));
        // The same moment in other words, and another size.
        let same = path(CAR, "start=2020-01-01T01:00:00%2B01:00&pageSize=9");
        assert_eq!(client.get(&same).await.status(), 200);
        for other in [
            path(CHARGE_POINT, ALWAYS),
            path(CAR, "start=2020-01-02T00:00:00Z"),
            path(CAR, &format!("{ALWAYS}&end=2030-01-01T00:00:00Z")),
            format!("/connect/v1/entities?continuationToken={token}"),
            format!("{}x", path(CAR, ALWAYS)),
        ] {
            assert_eq!(client.problem(400, &other).await, "InvalidParameter", "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        let nobody = client.sandbox.new_id();
        for path in [
            format!("/connect/v1/entities/{nobody}/charge-sessions?{ALWAYS}"),
            format!("/connect/v1/entities/nonsense/charge-sessions?{ALWAYS}"),
            // The entity is looked at before the parameters.
            format!("/connect/v1/entities/{nobody}/charge-sessions"),
            "/connect/v2/entities".to_owned(),
        ] {
            assert_eq!(client.problem(404, &path).await, "NotFound", "{path}");
        }
        let features = format!("/connect/v1/entities/{}/features", client.sandbox.entity_ids()[CAR]);
        assert_eq!(client.problem(405, &features).await, "MethodNotAllowed");
    }
}

mod features {
    use super::*;

    async fn set(client: &Client, entity: usize, enabled: bool) -> (u16, Value) {
        let body = json!({ "feature": "CaptureChargeSessions", "enabled": enabled });
        client.change("PATCH", entity, "features", &body).await
    }

    #[tokio::test]
    async fn a_vehicle_needs_a_capacity_before_sessions_can_be_captured() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        let (status, problem) = set(&client, NO_CAPACITY, true).await;
        assert_eq!((status, &problem["code"]), (400, &json!("BatteryCapacityMissing")));
        assert!(problem["message"].is_string());
        let capacity = json!({ "batteryCapacity": 77.4 });
        let (status, answer) = client.change("PUT", NO_CAPACITY, "battery-capacity", &capacity).await;
        assert_eq!((status, &answer["batteryCapacity"]), (200, &json!(77.4)));
        let on = json!([{ "feature": "CaptureChargeSessions", "enabled": true }]);
        assert_eq!(set(&client, NO_CAPACITY, true).await, (200, on));
    }

    #[tokio::test]
    async fn the_feature_can_be_switched_on_and_off_where_it_fits() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for entity in [CAR, CHARGE_POINT, CP] {
            for enabled in [false, true, true] {
                let status = json!([{ "feature": "CaptureChargeSessions", "enabled": enabled }]);
                assert_eq!(set(&client, entity, enabled).await, (200, status));
            }
        }
        for entity in [INCAPABLE, BATTERY, UNKNOWN] {
            let (status, problem) = set(&client, entity, true).await;
            assert_eq!((status, &problem["code"]), (400, &json!("NotSupported")));
            assert_eq!(set(&client, entity, false).await.0, 200);
        }
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_used_is_a_bad_request() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for (method, rest, text) in [
            ("PATCH", "features", json!(null)),
            ("PATCH", "features", json!([])),
            ("PATCH", "features", json!({ "feature": "CaptureChargeSessions" })),
            ("PATCH", "features", json!({ "feature": "CaptureChargeSessions", "enabled": "true" })),
            ("PATCH", "features", json!({ "feature": "MakeCoffee", "enabled": true })),
            ("PUT", "battery-capacity", json!({})),
            ("PUT", "battery-capacity", json!({ "batteryCapacity": "77.4" })),
            ("PUT", "battery-capacity", json!({ "batteryCapacity": 0 })),
            ("PUT", "battery-capacity", json!({ "batteryCapacity": 77_400 })),
        ] {
            let (status, problem) = client.change(method, CAR, rest, &text).await;
            assert_eq!((status, &problem["code"]), (400, &json!("InvalidBody")), "{text}");
        }
        let capacity = json!({ "batteryCapacity": 77.4 });
        let (status, problem) = client.change("PUT", CHARGE_POINT, "battery-capacity", &capacity).await;
        assert_eq!((status, &problem["code"]), (400, &json!("NotSupported")));
    }
}

mod data {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_other_bytes() {
        let text = |seed| DerConnectSandbox::builder().seed(seed).build().truth().to_string();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn sessions_make_sense() {
        let now: Timestamp = "2026-11-10T18:30:00Z".parse().unwrap();
        for seed in 0..20 {
            let sandbox = DerConnectSandbox::builder().seed(seed).now(now).dirt(false).build();
            let entities = sandbox.entity_ids();
            let (mut ids, mut ends) = (BTreeSet::new(), BTreeMap::new());
            let mut tiered = 0;
            for entry in list(&sandbox.truth()) {
                let (session, entity) = (&entry["session"], entry["entity_id"].as_str().unwrap());
                let data = &session["data"];
                let place = entities.iter().position(|it| it == entity).unwrap();
                assert_eq!(session["entityId"], entity);
                assert!(ids.insert(id(session)), "seed {seed}: {session}");
                let (start, end) = (start(session), moment(&data["end"]));
                assert!(ends.insert(place, end).is_none_or(|last| last < start), "seed {seed}: {session}");
                let created = moment(&session["created"]);
                assert!(start < end && end < created && created <= now, "seed {seed}: {session}");
                assert!(created.duration_since(end).as_mins() <= 24 * 60 + 3, "seed {seed}: {session}");

                let charge = &data["charge"];
                assert_eq!(charge["total"]["unit"], "kWh");
                assert_eq!(charge["averagePower"]["unit"], "kW");
                let energy = charge["total"]["total"].as_f64().unwrap();
                let power = charge["averagePower"]["value"].as_f64().unwrap();
                let hours = end.duration_since(start).as_secs_f64() / 3600.0;
                assert!((1.0..90.0).contains(&energy), "seed {seed}: {session}");
                assert!(energy / hours < power && power < 120.0, "seed {seed}: {session}");
                let tiers = ["t1", "t2", "t3", "t4"].map(|tier| charge["total"][tier].as_f64());
                if tiers[0].is_some() {
                    let sum: f64 = tiers.iter().flatten().sum();
                    assert!((sum - energy).abs() < 1e-6, "seed {seed}: {session}");
                    tiered += 1;
                }
                let is_vehicle = place < 3;
                for value in [charge.get("start"), charge.get("end"), data.get("range")] {
                    assert_eq!(value.is_some(), is_vehicle, "seed {seed}: {session}");
                }
                if is_vehicle {
                    assert!(charge["start"]["value"].as_i64() < charge["end"]["value"].as_i64());
                    assert!(
                        data["range"]["start"]["value"].as_f64() < data["range"]["end"]["value"].as_f64()
                    );
                }
            }
            assert!(tiered > 0, "seed {seed}");
            assert_eq!(ends.keys().copied().collect::<Vec<_>>(), [CAR, NO_CAPACITY, CHARGE_POINT, CP]);
        }
    }

    #[test]
    fn every_kind_of_dirt_is_there_once() {
        for seed in 0..20 {
            let sandbox = DerConnectSandbox::builder().seed(seed).build();
            let truth: Vec<Value> = list(&sandbox.truth()).iter().map(|it| it["session"].clone()).collect();
            let check = |name: &str, is_it: &dyn Fn(&Value) -> bool| {
                assert_eq!(truth.iter().filter(|it| is_it(it)).count(), 1, "seed {seed}: {name}");
            };
            let total = |it: &Value| it["data"]["charge"]["total"].clone();
            check("Wh", &|it| total(it)["unit"] == "Wh" && total(it)["total"].as_f64() > Some(1000.0));
            check("unknown unit", &|it| total(it)["unit"] == "MWh?");
            check("W", &|it| {
                let power = &it["data"]["charge"]["averagePower"];
                power["unit"] == "W" && power["value"].as_f64() > Some(1000.0)
            });
            check("tiers", &|it| {
                let total = total(it);
                let tier = |name: &str| total[name].as_f64().unwrap_or_default();
                let sum: f64 = ["t1", "t2", "t3", "t4"].map(tier).iter().sum();
                total.get("t1").is_some() && (sum - tier("total")).abs() > 0.01
            });
            check("no charge", &|it| it["data"].get("charge").is_none());
            check("no power", &|it| it["data"]["charge"].get("averagePower") == Some(&Value::Null));
            check("early", &|it| moment(&it["created"]) < moment(&it["data"]["end"]));
            check("space", &|it| it["data"]["start"].as_str().unwrap().contains(' '));
        }
    }

    #[tokio::test]
    async fn with_dirt_one_record_comes_again_on_the_second_page() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        for size in [1, 4, 25] {
            let mut read = client.walk(&client.listing(CAR, ""), &format!("{ALWAYS}&pageSize={size}")).await;
            assert_eq!(read[size - 1], read[size], "{size}");
            read.remove(size);
            assert_eq!(read, client.truth(CAR), "{size}");
        }
    }
}

mod trouble {
    use super::*;

    #[tokio::test]
    async fn a_fault_happens_once_and_the_request_is_recorded() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        let path = client.listing(CAR, ALWAYS);
        client.sandbox.inject(Fault::too_many_requests("retry-after", 3));
        assert_eq!(client.get(&path).await.status(), 429);
        client.sandbox.inject(Fault::set_field(1, "created", json!(7)));
        assert_eq!(client.json(&path).await["data"][1]["created"], 7);
        assert_eq!(client.sandbox.faults_waiting(), 0);
        let shown: Vec<String> = client.sandbox.requests().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [format!("POST {TOKEN} -> 200"), format!("GET {path} -> 429"), format!("GET {path} -> 200")]
        );
    }

    #[tokio::test]
    async fn pages_can_shift_and_repeat() {
        let client = Client::new(DerConnectSandbox::builder().dirt(false)).await;
        let path = client.listing(CAR, &format!("{ALWAYS}&pageSize=5"));
        let first = client.json(&path).await;
        client.sandbox.inject(Fault::shift_page(2));
        let second = client.json(first["links"]["next"].as_str().unwrap()).await;
        assert_eq!(list(&second["data"])[..2], list(&first["data"])[3..]);
        client.sandbox.inject(Fault::repeat_page());
        assert_eq!(client.json(second["links"]["next"].as_str().unwrap()).await, second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_says_how_long_to_wait() {
        let client = Client::new(DerConnectSandbox::builder().rate_limit(2, Duration::from_secs(10))).await;
        let path = client.listing(CAR, ALWAYS);
        for status in [200, 200, 429] {
            assert_eq!(client.get(&path).await.status(), status);
        }
        assert_eq!(client.get(&path).await.headers()["retry-after"], "10");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(client.get(&path).await.status(), 200);
    }

    #[tokio::test]
    async fn sessions_can_be_inserted_corrected_and_removed() {
        let client = Client::new(DerConnectSandbox::builder()).await;
        let before = client.sandbox.truth();
        let entity = client.sandbox.entity_ids().remove(BATTERY);
        let new = client.sandbox.new_id();
        let session = json!({ "id": new, "data": { "start": "2026-01-01T00:00:00Z", "end": null } });
        let insert = |entity: &str, session: &Value| {
            client.sandbox.mutate(Mutation::Insert { entity: entity.to_owned(), session: session.clone() })
        };
        assert!(!insert("nobody", &session));
        assert!(!insert(&entity, &json!({ "id": new })));
        assert!(insert(&entity, &session));
        assert_eq!(client.json(&client.listing(BATTERY, ALWAYS)).await["data"], json!([session]));

        let correct = |fields| client.sandbox.mutate(Mutation::Correct { id: new.clone(), fields });
        assert!(!correct(json!({ "data": { "start": "soon" } })));
        assert!(!correct(json!(3)));
        assert!(correct(json!({ "id": "other", "data": { "end": "2026-01-01T01:00:00Z" } })));
        let data = json!({ "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z" });
        assert_eq!(client.truth(BATTERY), [json!({ "id": new, "data": data })]);

        assert!(client.sandbox.mutate(Mutation::Remove(new.clone())));
        assert!(!client.sandbox.mutate(Mutation::Remove(new.clone())));
        assert_eq!(client.sandbox.truth(), before);
    }

    #[tokio::test]
    async fn it_listens_on_a_port_of_its_own() {
        let running = DerConnectSandbox::builder().build().start().await.unwrap();
        assert_eq!(running.base_url(), format!("{}/connect/", running.origin()));
        assert_eq!(running.token_url(), format!("{}{TOKEN}", running.origin()));
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        let request = b"GET /connect/v1/entities HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(!format!("{running:?}").contains(running.client_secret()));
        running.stop().await;
    }
}

struct Client {
    sandbox: DerConnectSandbox,
    bearer: String,
}

impl Client {
    async fn new(builder: DerConnectSandboxBuilder) -> Self {
        let sandbox = builder.build();
        let credentials = format!("{}:{}", sandbox.client_id(), sandbox.client_secret());
        let response = token(&sandbox, Some(&credentials), FORM, "grant_type=client_credentials").await;
        let bearer = format!("Bearer {}", body(&response)["access_token"].as_str().unwrap());
        Self { sandbox, bearer }
    }

    /// The path of the sessions of one entity.
    fn listing(&self, entity: usize, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("/connect/v1/entities/{}/charge-sessions{mark}{query}", self.sandbox.entity_ids()[entity])
    }

    /// The sessions of one entity.
    fn truth(&self, entity: usize) -> Vec<Value> {
        let id = &self.sandbox.entity_ids()[entity];
        let truth = self.sandbox.truth();
        let mine = list(&truth).iter().filter(|it| it["entity_id"] == *id);
        mine.map(|it| it["session"].clone()).collect()
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        let request = Request::get(path).header("authorization", &self.bearer);
        self.sandbox.call(request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    async fn change(&self, method: &str, entity: usize, rest: &str, text: &Value) -> (u16, Value) {
        let id = &self.sandbox.entity_ids()[entity];
        let request = Request::builder()
            .method(method)
            .uri(format!("/connect/v1/entities/{id}/{rest}"))
            .header("authorization", &self.bearer)
            .header("content-type", JSON);
        let request = request.body(Bytes::from(text.to_string())).unwrap();
        let response = self.sandbox.call(request).await.unwrap();
        (response.status().as_u16(), body(&response))
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}: {response:?}");
        assert_eq!(response.headers()["content-type"], JSON);
        body(&response)
    }

    /// The code of an error.
    async fn problem(&self, status: u16, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), status, "{path}: {response:?}");
        assert_eq!(response.headers()["content-type"], JSON);
        let mut problem = body(&response);
        assert!(problem["message"].is_string());
        problem["code"].take()
    }

    /// All records of a listing, page after page, until there is no token.
    async fn walk(&self, path: &str, query: &str) -> Vec<Value> {
        let mut read = Vec::new();
        let mut more = String::new();
        loop {
            let page = self.json(&format!("{path}?{query}{more}")).await;
            read.extend_from_slice(list(&page["data"]));
            match page["meta"]["continuationToken"].as_str() {
                Some(token) => more = format!("&continuationToken={token}"),
                None => return read,
            }
        }
    }
}

async fn token(
    sandbox: &DerConnectSandbox,
    credentials: Option<&str>,
    kind: &str,
    text: &str,
) -> Response<Bytes> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut request = Request::post(TOKEN).header("content-type", kind);
    if let Some(credentials) = credentials {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(credentials)));
    }
    sandbox.call(request.body(Bytes::from(text.to_owned())).unwrap()).await.unwrap()
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

fn moment(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn start(session: &Value) -> Timestamp {
    moment(&session["data"]["start"])
}
