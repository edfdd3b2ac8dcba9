//! The Podero sandbox answers like the documents say, and goes wrong in the ways it promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault,
    podero::{Mutation, PoderoSandbox, PoderoSandboxBuilder},
};
use http::{Request, Response};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const GRANT: &str = r#"{"grant_type":"client_credentials"}"#;
const JSON: &str = "application/json";
const ALL_DAYS: &str = "from=2026-01-01&to=2026-12-31";

const OUTCOMES: [&str; 18] = [
    "already_at_target",
    "boosted",
    "commands_failed",
    "ev_not_found",
    "hems_only_mode",
    "immediate_start",
    "in_progress",
    "insufficient_price_coverage",
    "no_battery_capacity",
    "not_at_home",
    "not_authenticated",
    "oem_not_capable",
    "oem_reported_full",
    "optimized",
    "other",
    "smart_optimization_disabled",
    "unknown",
    "user_unplugged_early",
];

const REQUIRED: [&str; 18] = [
    "actual_cost_eur",
    "actual_savings_eur",
    "avg_charge_power_kw",
    "charge_deadline",
    "desired_charging_end_time",
    "desired_charging_start_time",
    "energy_charged_kwh",
    "expected_savings_eur",
    "final_soc_pct",
    "id",
    "inferred_session_end",
    "initial_soc_pct",
    "is_at_home",
    "peak_charge_power_kw",
    "plug_in_time",
    "session_outcome",
    "target_soc_pct",
    "unplug_time",
];

const OPTIONAL: [&str; 4] = ["hidden_reason", "is_hidden", "reachable_soc_pct", "target_reachable"];

mod tokens {
    use super::*;

    #[tokio::test]
    async fn basic_and_json_give_a_token_for_ten_hours() {
        let sandbox = PoderoSandbox::builder().credentials("me", "s3cret").build();
        let response = token(&sandbox, Some("me:s3cret"), JSON, GRANT).await;
        assert_eq!(response.status(), 200);
        let mut answer = body(&response);
        assert!(answer["access_token"].take().is_string());
        let rest = json!({ "access_token": null, "expires_in": 36000, "token_type": "Bearer", "scope": "read write" });
        assert_eq!(answer, rest);
        assert_eq!(sandbox.token_requests(), 1);
    }

    #[tokio::test]
    async fn wrong_credentials_are_refused() {
        let sandbox = PoderoSandbox::builder().credentials("me", "s3cret").build();
        let in_body = r#"{"grant_type":"client_credentials","client_id":"me","client_secret":"s3cret"}"#;
        for (credentials, text) in
            [(Some("me:other"), GRANT), (Some("you:s3cret"), GRANT), (None, GRANT), (None, in_body)]
        {
            let response = token(&sandbox, credentials, JSON, text).await;
            assert_eq!(response.status(), 401, "{credentials:?} {text}");
            assert_eq!(body(&response), json!({ "error": "invalid_client" }));
        }
    }

    #[tokio::test]
    async fn only_json_is_understood() {
        let sandbox = PoderoSandbox::builder().credentials("me", "s3cret").build();
        let form = "application/x-www-form-urlencoded";
        let cases = [
            (form, "grant_type=client_credentials", "invalid_request"),
            (form, GRANT, "invalid_request"),
            (JSON, "grant_type=client_credentials", "invalid_request"),
            (JSON, "[]", "invalid_request"),
            (JSON, "{}", "unsupported_grant_type"),
            (JSON, r#"{"grant_type":"password"}"#, "unsupported_grant_type"),
        ];
        for (kind, text, error) in cases {
            let response = token(&sandbox, Some("me:s3cret"), kind, text).await;
            assert_eq!(response.status(), 400, "{kind} {text}");
            assert_eq!(body(&response), json!({ "error": error }), "{kind} {text}");
        }
        assert_eq!(
            token(&sandbox, Some("me:s3cret"), "application/json; charset=utf-8", GRANT).await.status(),
            200
        );
    }

    #[tokio::test]
    async fn data_needs_a_token_that_is_known() {
        let mut client = Client::new(PoderoSandbox::builder()).await;
        let path = client.listing(0, ALL_DAYS);
        for bearer in ["", "Bearer nonsense", "Basic bWU6czNjcmV0"] {
            client.bearer = bearer.to_owned();
            assert_eq!(client.problem(401, &path).await, "Unauthorized", "{bearer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_after_its_lifetime() {
        let client = Client::new(PoderoSandbox::builder().token_lifetime(Duration::from_secs(60))).await;
        let path = client.listing(0, ALL_DAYS);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(client.get(&path).await.status(), 200);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(client.get(&path).await.status(), 401);
    }
}

mod organization {
    use super::*;

    #[tokio::test]
    async fn users_are_a_bare_array_and_the_deleted_ones_come_if_asked_for() {
        let client = Client::new(PoderoSandbox::builder()).await;
        for query in ["", "?include_deleted=false"] {
            let users = client.json(&client.org(&format!("users{query}"))).await;
            assert_eq!(ids(&users), client.sandbox.user_ids());
            assert!(list(&users).iter().all(|user| user["organization_id"] == client.sandbox.org_id()));
        }
        let users = client.json(&client.org("users?include_deleted=true")).await;
        assert_eq!(list(&users).len(), 4);
        let detail = client.problem(422, &client.org("users?include_deleted=perhaps")).await;
        assert_eq!(detail[0]["loc"], json!(["query", "include_deleted"]));
    }

    #[tokio::test]
    async fn three_people_have_no_one_and_three_vehicles() {
        let client = Client::new(PoderoSandbox::builder()).await;
        let mut counts = Vec::new();
        for user in client.sandbox.user_ids() {
            let vehicles = client.json(&client.org(&format!("users/{user}/electric-vehicles"))).await;
            assert_eq!(ids(&vehicles), client.sandbox.vehicle_ids(&user));
            counts.push(list(&vehicles).len());
        }
        assert_eq!(counts, [0, 1, 3]);
        assert!(client.sandbox.vehicle_ids("nobody").is_empty());
    }

    #[tokio::test]
    async fn what_is_unknown_or_belongs_to_somebody_else_is_not_found() {
        let client = Client::new(PoderoSandbox::builder()).await;
        let users = client.sandbox.user_ids();
        let vehicle = client.sandbox.vehicle_ids(&users[1]).remove(0);
        let nobody = "00000000-0000-4000-8000-000000000000";
        let sessions = |org: &str, user: &str, vehicle: &str| {
            format!(
                "/api/partners/v2.0/org/{org}/users/{user}/electric-vehicles/{vehicle}/sessions?{ALL_DAYS}"
            )
        };
        let org = client.sandbox.org_id();
        for path in [
            format!("/api/partners/v2.0/org/{nobody}/users"),
            client.org(&format!("users/{nobody}/electric-vehicles")),
            sessions(nobody, &users[1], &vehicle),
            sessions(org, nobody, &vehicle),
            sessions(org, &users[2], &vehicle),
            sessions(org, &users[1], nobody),
            sessions(org, &users[1], nobody).replace("sessions?", "sessions/current?"),
            client.org("users/"),
            "/".to_owned(),
        ] {
            assert!(client.problem(404, &path).await.is_string(), "{path}");
        }
        let request = Request::post(client.org("users")).header("authorization", &client.bearer);
        assert_eq!(client.send(request).await.status(), 405);
    }
}

mod listing {
    use super::*;

    #[tokio::test]
    async fn every_limit_reads_everything_in_order() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        for vehicle in 0..4 {
            let expected: Vec<String> = client.truth(vehicle).iter().map(id).collect();
            assert!(!expected.is_empty());
            for limit in ["", "&limit=1", "&limit=7", "&limit=50", "&limit=200"] {
                let path = client.listing(vehicle, &format!("{ALL_DAYS}&include_hidden=true{limit}"));
                let read: Vec<String> = client.walk(&path).await.iter().map(id).collect();
                assert_eq!(read, expected, "{limit:?}");
            }
        }
    }

    #[tokio::test]
    async fn records_come_as_the_truth_has_them() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let path = client.listing(0, &format!("{ALL_DAYS}&include_hidden=true&limit=200"));
        let page = client.get(&path).await;
        // As text, because not every parser keeps the last digit of a number.
        let truth = client.truth(0);
        let expected = json!({ "total": truth.len(), "items": truth }).to_string();
        assert_eq!(String::from_utf8_lossy(page.body()), expected);
    }

    #[tokio::test]
    async fn the_newest_may_come_first() {
        let client = Client::new(PoderoSandbox::builder().seed(7).newest_first()).await;
        let mut expected: Vec<String> = client.truth(0).iter().map(id).collect();
        expected.reverse();
        let path = client.listing(0, &format!("{ALL_DAYS}&include_hidden=true&limit=9"));
        assert_eq!(client.walk(&path).await.iter().map(id).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn both_days_are_included_to_their_last_instant() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let (mut first, mut last) = (0, 0);
        for vehicle in 0..4 {
            for session in client.truth(vehicle) {
                let text = session["plug_in_time"].as_str().unwrap();
                first += usize::from(text.contains("T00:00:00Z"));
                last += usize::from(text.contains("T23:59:59.999999Z"));
                let day = day(&session);
                for (from, to, there) in [
                    (day, day, true),
                    (day.yesterday().unwrap(), day, true),
                    (day, day.tomorrow().unwrap(), true),
                    (day.yesterday().unwrap(), day.yesterday().unwrap(), false),
                    (day.tomorrow().unwrap(), day.tomorrow().unwrap(), false),
                    (day.tomorrow().unwrap(), day, false),
                ] {
                    let path = client.listing(vehicle, &format!("from={from}&to={to}&include_hidden=true"));
                    let page = client.json(&path).await;
                    let found = list(&page["items"]).iter().any(|it| it["id"] == session["id"]);
                    assert_eq!(found, there, "{text} in {from}..={to}");
                }
            }
        }
        assert!(first > 0 && last > 0, "sessions lie on the bounds");
    }

    #[tokio::test]
    async fn the_total_counts_hidden_sessions_only_if_they_are_asked_for() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let truth = client.truth(0);
        let hidden = truth.iter().filter(|it| it["is_hidden"] == true).count();
        assert!(hidden > 0);
        for (more, expected) in [
            ("", truth.len() - hidden),
            ("&include_hidden=false", truth.len() - hidden),
            ("&include_hidden=true", truth.len()),
        ] {
            let page = client.json(&client.listing(0, &format!("{ALL_DAYS}&limit=3{more}"))).await;
            assert_eq!(page["total"], expected, "{more}");
            assert_eq!(list(&page["items"]).len(), 3);
            let page = client.json(&client.listing(0, &format!("{ALL_DAYS}&offset=5000{more}"))).await;
            assert_eq!(page, json!({ "total": expected, "items": [] }), "{more}");
        }
    }

    #[tokio::test]
    async fn a_page_has_fifty_sessions_unless_asked_or_capped() {
        let builder = || PoderoSandbox::builder().seed(7).days(200);
        let length = async |client: &Client, more: &str| {
            let page = client.json(&client.listing(0, &format!("{ALL_DAYS}{more}"))).await;
            list(&page["items"]).len()
        };
        let client = Client::new(builder()).await;
        assert_eq!(length(&client, "").await, 50);
        assert_eq!(length(&client, "&limit=60").await, 60);
        let client = Client::new(builder().page_cap(Some(20))).await;
        assert_eq!(length(&client, "&limit=200").await, 20);
        assert_eq!(length(&client, "&limit=7").await, 7);
        let path = client.listing(0, &format!("{ALL_DAYS}&include_hidden=true&limit=200"));
        assert_eq!(client.walk(&path).await.len(), client.truth(0).len());
    }

    #[tokio::test]
    async fn parameters_that_cannot_be_used_are_all_named() {
        let client = Client::new(PoderoSandbox::builder()).await;
        let cases: [(&str, &[(&str, &str)]); 16] = [
            ("", &[("from", "missing"), ("to", "missing")]),
            ("from=2026-10-01", &[("to", "missing")]),
            ("to=2026-10-01&from=", &[("from", "missing")]),
            ("from=2026-02-30&to=2026-10-01", &[("from", "date_parsing")]),
            ("from=20261001&to=2026-10-01", &[("from", "date_parsing")]),
            ("from=2026-10-01T00:00:00Z&to=2026-10-01", &[("from", "date_parsing")]),
            ("from=2026-10-01&to=yesterday", &[("to", "date_parsing")]),
            ("limit=0", &[("limit", "greater_than_equal")]),
            ("limit=-3", &[("limit", "greater_than_equal")]),
            ("limit=201", &[("limit", "less_than_equal")]),
            ("limit=many", &[("limit", "int_parsing")]),
            ("limit=1.5", &[("limit", "int_parsing")]),
            ("offset=-1", &[("offset", "greater_than_equal")]),
            ("offset=x", &[("offset", "int_parsing")]),
            ("include_hidden=maybe", &[("include_hidden", "bool_parsing")]),
            ("limit=0&offset=-1", &[("limit", "greater_than_equal"), ("offset", "greater_than_equal")]),
        ];
        for (query, expected) in cases {
            let days = if query.is_empty() || query.contains("to=") || query.contains("from=") {
                ""
            } else {
                ALL_DAYS
            };
            let detail = client.problem(422, &client.listing(0, &format!("{days}&{query}"))).await;
            let named: Vec<(Value, &str)> =
                list(&detail).iter().map(|it| (it["loc"].clone(), it["type"].as_str().unwrap())).collect();
            let expected: Vec<_> =
                expected.iter().map(|(name, kind)| (json!(["query", name]), *kind)).collect();
            assert_eq!(named, expected, "{query}");
            assert!(list(&detail).iter().all(|it| it["msg"].is_string()));
        }
    }
}

mod current {
    use super::*;

    #[tokio::test]
    async fn only_one_vehicle_is_plugged_in() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let answer = client.json(&client.vehicle(0, "sessions/current")).await;
        let truth = client.truth(0);
        assert_eq!(answer, json!({ "session": truth.last() }));
        assert_eq!(answer["session"]["session_outcome"], "in_progress");
        assert_eq!(answer["session"]["unplug_time"], Value::Null);
        for vehicle in 1..4 {
            let answer = client.json(&client.vehicle(vehicle, "sessions/current")).await;
            assert_eq!(answer, json!({ "session": null }));
        }
    }

    #[tokio::test]
    async fn unplugging_ends_it() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let open = client.truth(0).pop().unwrap();
        let fields =
            json!({ "unplug_time": "2026-11-10T18:20:00Z", "session_outcome": "user_unplugged_early" });
        assert!(client.sandbox.mutate(Mutation::Correct { id: id(&open), fields }));
        let answer = client.json(&client.vehicle(0, "sessions/current")).await;
        assert_eq!(answer, json!({ "session": null }));
    }
}

mod data {
    use super::*;

    #[tokio::test]
    async fn the_same_seed_and_moment_give_the_same_bytes() {
        let text = |seed| PoderoSandbox::builder().seed(seed).build().truth().to_string();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        let one = PoderoSandbox::builder().seed(7).build();
        let other = PoderoSandbox::builder().seed(7).build();
        assert_eq!(
            (one.org_id(), one.client_id(), one.client_secret()),
            (other.org_id(), other.client_id(), other.client_secret())
        );
        assert_ne!(one.org_id(), PoderoSandbox::builder().seed(8).build().org_id());
    }

    #[tokio::test]
    async fn the_data_is_the_same_on_every_machine_and_after_every_update() {
        let sandbox = PoderoSandbox::builder().seed(7).build();
        let counts: Vec<usize> = (0..4).map(|vehicle| of_vehicle(&sandbox, vehicle).len()).collect();
        assert_eq!(counts, [80, 57, 46, 36]);
        // FNV-1a over every byte, with sorted keys, because a feature of `serde_json` would keep their order.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for session in sessions(&sandbox) {
            let sorted: BTreeMap<&String, &Value> = session.as_object().unwrap().iter().collect();
            for byte in serde_json::to_vec(&sorted).unwrap() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(hash, 0x0f6b_b2f8_ba4d_4f22, "{hash:#x}");
    }

    #[tokio::test]
    async fn whatever_the_seed_everything_documented_is_there() {
        for seed in 0..20 {
            let truth = sessions(&PoderoSandbox::builder().seed(seed).dirt(false).build());
            let words: BTreeSet<&str> =
                truth.iter().map(|it| it["session_outcome"].as_str().unwrap()).collect();
            assert!(words.into_iter().eq(OUTCOMES), "seed {seed}");
            for field in REQUIRED {
                assert!(truth.iter().all(|it| it.get(field).is_some()), "seed {seed}: {field}");
                assert!(truth.iter().any(|it| !it[field].is_null()), "seed {seed}: {field}");
                let is_nullable = !["id", "plug_in_time", "is_at_home", "session_outcome"].contains(&field);
                assert_eq!(truth.iter().any(|it| it[field].is_null()), is_nullable, "seed {seed}: {field}");
            }
            for field in OPTIONAL {
                assert!(truth.iter().any(|it| it.get(field).is_none()), "seed {seed}: {field}");
                assert!(
                    truth.iter().any(|it| it.get(field).is_some_and(|it| !it.is_null())),
                    "seed {seed}: {field}"
                );
                let is_nullable = field != "is_hidden";
                let is_null = truth.iter().any(|it| it.get(field).is_some_and(Value::is_null));
                assert_eq!(is_null, is_nullable, "seed {seed}: {field}");
            }
            let unique: BTreeSet<String> = truth.iter().map(id).collect();
            assert_eq!(unique.len(), truth.len());
        }
    }

    #[tokio::test]
    async fn any_number_of_days_before_any_moment_can_be_invented() {
        let count = |days, now: &str| {
            let sandbox = PoderoSandbox::builder().days(days).now(now.parse().unwrap()).build();
            let truth = sessions(&sandbox);
            let last = truth.iter().filter_map(|it| moment(&it["plug_in_time"])).max();
            assert!(last.is_some_and(|last| last <= now.parse().unwrap()));
            truth.len()
        };
        assert_eq!(count(0, "2026-11-10T18:30:00Z"), 1, "the open one");
        assert!(count(1, "2026-03-29T01:30:00Z") < 9);
        assert!(count(7, "2026-10-25T00:59:59Z") < 40);
        assert!(count(800, "2028-02-29T23:59:59Z") > 1500);
    }

    #[tokio::test]
    async fn sessions_are_plausible_without_dirt() {
        for seed in 0..20 {
            let sandbox = PoderoSandbox::builder().seed(seed).dirt(false).build();
            for vehicle in 0..4 {
                let mut free = Timestamp::MIN;
                for session in of_vehicle(&sandbox, vehicle) {
                    let start = moment(&session["plug_in_time"]).unwrap();
                    assert!(start >= free, "seed {seed}: plugged in while plugged in: {session}");
                    let end = moment(&session["unplug_time"]).or(moment(&session["inferred_session_end"]));
                    free = end.unwrap_or(start);
                    assert!(free >= start, "seed {seed}: {session}");
                    let minutes = free.duration_since(start).as_mins();
                    let is_hidden = session["is_hidden"] == true;
                    assert!(is_hidden == (session["hidden_reason"] == "short_duration"));
                    assert!(!is_hidden || minutes < 5, "seed {seed}: {session}");
                    if session["session_outcome"] == "user_unplugged_early" {
                        let (last, target) =
                            (session["final_soc_pct"].as_f64(), session["target_soc_pct"].as_f64());
                        assert!(last < target || target.is_none(), "seed {seed}: {session}");
                    }
                    for (field, low, high) in [
                        ("energy_charged_kwh", 0.0, 80.0),
                        ("avg_charge_power_kw", 0.5, 11.0),
                        ("peak_charge_power_kw", 0.5, 11.0),
                        ("initial_soc_pct", 0.0, 100.0),
                        ("final_soc_pct", 0.0, 100.0),
                        ("target_soc_pct", 50.0, 100.0),
                        ("actual_cost_eur", 0.0, 30.0),
                    ] {
                        let Some(number) = session[field].as_f64() else { continue };
                        assert!((low..=high).contains(&number), "seed {seed}: {field} in {session}");
                        let text = session[field].to_string();
                        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                        assert!(decimals <= 3, "seed {seed}: {field} {text}");
                    }
                    if let (Some(from), Some(until)) = (
                        moment(&session["desired_charging_start_time"]),
                        moment(&session["desired_charging_end_time"]),
                    ) {
                        assert!(start <= from && from < until, "seed {seed}: {session}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn every_documented_kind_of_dirt_is_there() {
        for seed in 0..20 {
            let truth = sessions(&PoderoSandbox::builder().seed(seed).build());
            let check = |name: &str, is_it: &dyn Fn(&Value) -> bool| {
                assert!(truth.iter().any(is_it), "seed {seed}: {name}");
            };
            let text = |it: &Value, field: &str| it[field].to_string();
            check("outcome", &|it| it["session_outcome"] == "grid_event_paused");
            check("hidden reason", &|it| {
                it["hidden_reason"] == "merged_into_other" && it["is_hidden"] == true
            });
            check("energy", &|it| text(it, "energy_charged_kwh") == "12.299999999999999");
            check("cost", &|it| text(it, "actual_cost_eur") == "3.4500000000000006");
            check("no capacity", &|it| {
                it["session_outcome"] == "no_battery_capacity" && it["energy_charged_kwh"].is_null()
            });
            check("state of charge", &|it| it["final_soc_pct"].as_f64() > Some(100.0));
            check("negative cost", &|it| {
                it["actual_cost_eur"].as_f64() < Some(0.0) && !it["actual_cost_eur"].is_null()
            });
            check("skew", &|it| {
                let (start, end) = (moment(&it["plug_in_time"]), moment(&it["unplug_time"]));
                end.is_some_and(|end| start.unwrap().duration_since(end).as_secs() == 60)
            });
            let plug_in = |it: &Value| it["plug_in_time"].as_str().unwrap().to_owned();
            check("first instant", &|it| plug_in(it).ends_with("T00:00:00Z"));
            check("last instant", &|it| plug_in(it).ends_with("T23:59:59.999999Z"));
            check("fractions", &|it| plug_in(it).ends_with(".225655Z"));
            check("offset", &|it| plug_in(it).ends_with("+00:00"));
            check("guessed end", &|it| it["unplug_time"].is_null() && !it["inferred_session_end"].is_null());
            let spans = |it: &Value, at: &str| {
                let (start, end) = (moment(&it["plug_in_time"]), moment(&it["unplug_time"]));
                let end = end.or(moment(&it["inferred_session_end"]));
                start < moment(&at.into()) && moment(&at.into()) < end
            };
            check("midnight", &|it| spans(it, &format!("{}T00:00:00Z", day(it).tomorrow().unwrap())));
            check("change of the clocks", &|it| spans(it, "2026-10-25T01:00:00Z"));
        }
    }
}

mod trouble {
    use super::*;

    #[tokio::test]
    async fn a_fault_happens_once_and_the_request_is_recorded() {
        let client = Client::new(PoderoSandbox::builder()).await;
        let path = client.listing(0, ALL_DAYS);
        client.sandbox.inject(Fault::too_many_requests("retry-after", 3));
        let response = client.get(&path).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"3".parse().unwrap())
        );
        assert_eq!(client.get(&path).await.status(), 200);
        assert_eq!(client.sandbox.faults_waiting(), 0);
        let shown: Vec<String> = client.sandbox.requests().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "POST /oauth2/token/ -> 200".to_owned(),
                format!("GET {path} -> 429"),
                format!("GET {path} -> 200")
            ]
        );
    }

    #[tokio::test]
    async fn a_record_can_be_spoilt_in_a_listing_and_as_the_current_one() {
        let client = Client::new(PoderoSandbox::builder()).await;
        client.sandbox.inject(Fault::set_field(1, "energy_charged_kwh", json!("12")));
        let page = client.json(&client.listing(0, ALL_DAYS)).await;
        assert_eq!(page["items"][1]["energy_charged_kwh"], "12");
        client.sandbox.inject(Fault::remove_field(0, "plug_in_time"));
        let answer = client.json(&client.vehicle(0, "sessions/current")).await;
        assert!(answer["session"]["id"].is_string());
        assert_eq!(answer["session"].get("plug_in_time"), None);
    }

    #[tokio::test]
    async fn pages_can_shift_and_repeat() {
        let client = Client::new(PoderoSandbox::builder()).await;
        let page = |offset| client.listing(0, &format!("{ALL_DAYS}&limit=5&offset={offset}"));
        let first = client.json(&page(0)).await;
        client.sandbox.inject(Fault::shift_page(2));
        let second = client.json(&page(5)).await;
        assert_eq!(ids(&second["items"])[..2], ids(&first["items"])[3..]);
        client.sandbox.inject(Fault::repeat_page());
        assert_eq!(client.json(&page(10)).await, second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_says_how_long_to_wait() {
        let client = Client::new(PoderoSandbox::builder().rate_limit(2, Duration::from_secs(10))).await;
        let path = client.org("users");
        for status in [200, 200, 429] {
            assert_eq!(client.get(&path).await.status(), status);
        }
        assert_eq!(client.get(&path).await.headers()["retry-after"], "10");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(client.get(&path).await.status(), 200);
    }

    #[tokio::test]
    async fn an_insertion_between_two_pages_shows_a_session_twice() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let page = |offset| client.listing(0, &format!("{ALL_DAYS}&limit=10&offset={offset}"));
        let first = client.json(&page(0)).await;
        let total = first["total"].as_u64().unwrap();
        let user = &client.sandbox.user_ids()[1];
        let vehicle = client.sandbox.vehicle_ids(user).remove(0);
        let mut session = client.truth(0).remove(0);
        session["id"] = client.sandbox.new_id().into();
        session["plug_in_time"] = "2026-01-01T00:00:00Z".into();
        session["is_hidden"] = false.into();
        assert!(client.sandbox.mutate(Mutation::Insert { vehicle, session: session.clone() }));
        let second = client.json(&page(10)).await;
        assert_eq!(second["total"], total + 1);
        assert_eq!(second["items"][0], first["items"][9]);
        assert_eq!(client.json(&page(0)).await["items"][0]["id"], session["id"]);

        // Taking away two hides one that nobody has seen.
        assert!(client.sandbox.mutate(Mutation::Remove(id(&session))));
        let gone = first["items"][0]["id"].as_str().unwrap().to_owned();
        assert!(client.sandbox.mutate(Mutation::Remove(gone.clone())));
        assert!(!client.sandbox.mutate(Mutation::Remove(gone)));
        assert_eq!(client.json(&page(10)).await["items"][0], second["items"][2]);
    }

    #[tokio::test]
    async fn a_correction_moves_a_session_and_nonsense_changes_nothing() {
        let client = Client::new(PoderoSandbox::builder().seed(7)).await;
        let first = id(&client.truth(0)[0]);
        let correct = |fields| client.sandbox.mutate(Mutation::Correct { id: first.clone(), fields });
        let before = client.sandbox.truth();
        assert!(!correct(json!({ "plug_in_time": "soon" })));
        assert!(!correct(json!(3)));
        let insert = |vehicle: &str, session| {
            client.sandbox.mutate(Mutation::Insert { vehicle: vehicle.to_owned(), session })
        };
        assert!(!insert("nobody", client.truth(0).remove(0)));
        let vehicle = client.sandbox.vehicle_ids(&client.sandbox.user_ids()[1]).remove(0);
        assert!(!insert(&vehicle, json!({ "id": client.sandbox.new_id() })));
        assert_eq!(client.sandbox.truth(), before);
        assert!(correct(json!({ "plug_in_time": "2026-12-01T00:00:00Z", "id": "other" })));
        assert_eq!(id(client.truth(0).last().unwrap()), first);
    }

    #[tokio::test]
    async fn it_listens_on_a_port_of_its_own() {
        let running = PoderoSandbox::builder().build().start().await.unwrap();
        assert_eq!(running.token_url(), format!("{}/oauth2/token/", running.base_url()));
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        stream.write_all(b"GET /api HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(!format!("{running:?}").contains(running.client_secret()));
        running.stop().await;
    }
}

struct Client {
    sandbox: PoderoSandbox,
    bearer: String,
}

impl Client {
    async fn new(builder: PoderoSandboxBuilder) -> Self {
        let sandbox = builder.build();
        let credentials = format!("{}:{}", sandbox.client_id(), sandbox.client_secret());
        let response = token(&sandbox, Some(&credentials), JSON, GRANT).await;
        let bearer = format!("Bearer {}", body(&response)["access_token"].as_str().unwrap());
        Self { sandbox, bearer }
    }

    /// A path below the organization.
    fn org(&self, rest: &str) -> String {
        format!("/api/partners/v2.0/org/{}/{rest}", self.sandbox.org_id())
    }

    /// A path below one of the four vehicles.
    fn vehicle(&self, index: usize, rest: &str) -> String {
        let (user, vehicle) = vehicles(&self.sandbox).remove(index);
        self.org(&format!("users/{user}/electric-vehicles/{vehicle}/{rest}"))
    }

    fn listing(&self, vehicle: usize, query: &str) -> String {
        self.vehicle(vehicle, &format!("sessions?{query}"))
    }

    /// The sessions of one of the four vehicles.
    fn truth(&self, vehicle: usize) -> Vec<Value> {
        of_vehicle(&self.sandbox, vehicle)
    }

    async fn send(&self, request: http::request::Builder) -> Response<Bytes> {
        self.sandbox.call(request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path).header("authorization", &self.bearer)).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}: {response:?}");
        assert_eq!(response.headers()["content-type"], JSON);
        body(&response)
    }

    /// The `detail` of an error.
    async fn problem(&self, status: u16, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), status, "{path}: {response:?}");
        assert_eq!(response.headers()["content-type"], JSON);
        body(&response)["detail"].take()
    }

    /// All sessions of a listing, page after page, until as many are read as there are.
    async fn walk(&self, path: &str) -> Vec<Value> {
        let mut read = Vec::new();
        loop {
            let page = self.json(&format!("{path}&offset={}", read.len())).await;
            let items = list(&page["items"]);
            assert!(!items.is_empty());
            read.extend_from_slice(items);
            if page["total"] == read.len() {
                return read;
            }
        }
    }
}

async fn token(
    sandbox: &PoderoSandbox,
    credentials: Option<&str>,
    kind: &str,
    text: &str,
) -> Response<Bytes> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut request = Request::post("/oauth2/token/").header("content-type", kind);
    if let Some(credentials) = credentials {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(credentials)));
    }
    sandbox.call(request.body(Bytes::from(text.to_owned())).unwrap()).await.unwrap()
}

/// User and vehicle, for all vehicles.
fn vehicles(sandbox: &PoderoSandbox) -> Vec<(String, String)> {
    let users = sandbox.user_ids().into_iter();
    users.flat_map(|user| sandbox.vehicle_ids(&user).into_iter().map(move |it| (user.clone(), it))).collect()
}

fn of_vehicle(sandbox: &PoderoSandbox, index: usize) -> Vec<Value> {
    let (user, vehicle) = vehicles(sandbox).remove(index);
    let truth = sandbox.truth();
    let mine = list(&truth).iter().filter(|it| it["user_id"] == user && it["electric_vehicle_id"] == vehicle);
    mine.map(|it| it["session"].clone()).collect()
}

fn sessions(sandbox: &PoderoSandbox) -> Vec<Value> {
    list(&sandbox.truth()).iter().map(|it| it["session"].clone()).collect()
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

fn ids(records: &Value) -> Vec<String> {
    list(records).iter().map(id).collect()
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// The UTC day of the plug-in.
fn day(session: &Value) -> Date {
    TimeZone::UTC.to_datetime(moment(&session["plug_in_time"]).unwrap()).date()
}
