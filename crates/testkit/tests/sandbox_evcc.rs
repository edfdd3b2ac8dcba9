//! The evcc sandbox answers like the facts say, and goes wrong in the ways it promises.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault,
    evcc::{EvccSandbox, EvccSandboxBuilder, Mutation},
};
use http::{Request, Response};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde_json::{Value, json};

const NO_END: &str = "0001-01-01T00:00:00Z";

async fn get(sandbox: &EvccSandbox, path: &str, authorization: &str) -> Response<Bytes> {
    let mut request = Request::get(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    sandbox.call(request.body(Bytes::new()).unwrap()).await.unwrap()
}

async fn sessions(sandbox: &EvccSandbox, query: &str) -> Vec<Value> {
    let response = get(sandbox, &format!("/api/sessions{query}"), "").await;
    assert_eq!(response.status(), 200, "{query}");
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice::<Value>(response.body()).unwrap().as_array().unwrap().clone()
}

fn created(session: &Value) -> Timestamp {
    session["created"].as_str().unwrap().parse().unwrap()
}

fn all(sandbox: &EvccSandbox) -> Vec<Value> {
    sandbox.truth().as_array().unwrap().clone()
}

/// A sandbox with nothing but these sessions, a kilowatt-hour each.
fn with(change: impl FnOnce(EvccSandboxBuilder) -> EvccSandboxBuilder, starts: &[&str]) -> EvccSandbox {
    let sandbox = change(EvccSandbox::builder().days(0).dirt(false)).build();
    for session in all(&sandbox) {
        assert!(sandbox.mutate(Mutation::Remove(session["id"].as_i64().unwrap())));
    }
    for start in starts {
        let session = json!({"id": sandbox.new_id(), "created": start, "chargedEnergy": 1});
        assert!(sandbox.mutate(Mutation::Insert(session)), "{start}");
    }
    sandbox
}

mod data {
    use super::*;

    #[test]
    fn depends_on_seed_and_moment_only() {
        let truth = |seed| EvccSandbox::builder().seed(seed).build().truth().to_string();
        assert_eq!(truth(7), truth(7));
        assert_ne!(truth(7), truth(8));
    }

    #[test]
    fn is_like_that_of_a_home() {
        for seed in 0..20 {
            let sandbox = EvccSandbox::builder().seed(seed).dirt(false).build();
            let sessions = all(&sandbox);
            assert!((50..200).contains(&sessions.len()), "{}", sessions.len());
            assert!(sessions.is_sorted_by_key(|session| std::cmp::Reverse(created(session))));
            let open = sessions.iter().filter(|session| session["finished"] == NO_END).count();
            assert!((1..=2).contains(&open), "{open} sessions go on");
            let mut ids = BTreeSet::new();
            for session in &sessions {
                let number = |name: &str| session[name].as_f64();
                let energy = number("chargedEnergy").unwrap();
                assert!((0.05..100.0).contains(&energy), "{session}");
                assert!(ids.insert(session["id"].as_i64().unwrap()));
                if let (Some(start), Some(stop)) = (number("meterStart"), number("meterStop")) {
                    assert!((stop - start - energy).abs() < 1e-6, "{session}");
                }
                if session["finished"] != NO_END {
                    let finished: Timestamp = session["finished"].as_str().unwrap().parse().unwrap();
                    let nanos = session["chargeDuration"].as_i64().unwrap();
                    let span = finished.duration_since(created(session));
                    assert!(i128::from(nanos) <= span.as_nanos() + 1_000_000_000, "{session}");
                }
            }
        }
    }

    #[test]
    fn has_the_offset_of_the_servers_clock() {
        let sandbox = EvccSandbox::builder().build();
        let offsets: BTreeSet<_> = all(&sandbox)
            .iter()
            .map(|session| session["created"].as_str().unwrap().chars().rev().take(6).collect::<String>())
            .collect();
        // +01:00 and +02:00, read from behind: the clocks went back in October.
        assert_eq!(offsets.into_iter().collect::<Vec<_>>(), ["00:10+", "00:20+"]);
        let utc = EvccSandbox::builder().zone(TimeZone::UTC).build();
        assert!(all(&utc).iter().all(|session| session["created"].as_str().unwrap().ends_with('Z')));
    }

    #[test]
    fn has_every_kind_of_dirt() {
        let sandbox = EvccSandbox::builder().seed(3).build();
        let clean = EvccSandbox::builder().seed(3).dirt(false).build();
        let (soiled, clean) = (all(&sandbox), all(&clean));
        let mut changed = soiled.iter().filter(|session| !clean.contains(session)).collect::<Vec<_>>();
        assert_eq!(changed.len(), 7);
        changed.sort_by_key(|session| created(session));
        let [open, old, odometer, meter, carried, clock, price] = *changed else { unreachable!() };
        assert_eq!(open["finished"], NO_END);
        assert!(["odometer", "price", "chargeDuration"].iter().all(|name| old[name].is_null()));
        assert_eq!(odometer["odometer"], 0);
        let by_meter = |session: &Value| {
            session["meterStop"].as_f64().unwrap()
                - session["meterStart"].as_f64().unwrap()
                - session["chargedEnergy"].as_f64().unwrap()
        };
        assert!((by_meter(meter) - 1.5).abs() < 1e-6 && (by_meter(carried) + 6.2).abs() < 1e-6);
        assert!(clock["finished"].as_str().unwrap().parse::<Timestamp>().unwrap() < created(clock));
        assert!(price["price"].as_f64().unwrap() < 0.0);
    }
}

mod listing {
    use super::*;

    #[tokio::test]
    async fn is_everything_the_newest_first() {
        let sandbox = EvccSandbox::builder().seed(1).build();
        let listed = sessions(&sandbox, "").await;
        assert_eq!(Value::from(listed), serde_json::from_str::<Value>(&sandbox.truth().to_string()).unwrap());
    }

    #[tokio::test]
    async fn is_of_a_year_or_a_month_of_it() {
        let sandbox = EvccSandbox::builder().days(400).build();
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let civil = |session: &Value| Zoned::new(created(session), zone.clone());
        let count = async |query| sessions(&sandbox, query).await.len();
        let all = all(&sandbox);
        let expected = |year, month| {
            let is = |session: &&Value| {
                let began = civil(session);
                began.year() == year && (month == 0 || began.month() == month)
            };
            all.iter().filter(is).count()
        };
        assert!(expected(2026, 3) > 5 && expected(2025, 0) > 5);
        assert_eq!(count("?year=2026&month=3").await, expected(2026, 3));
        assert_eq!(count("?year=2026&month=03").await, expected(2026, 3));
        assert_eq!(count("?year=2025").await, expected(2025, 0));
        assert_eq!(count("?year=2025&month=").await, expected(2025, 0));
        assert_eq!(count("?year=2025&month=0").await, expected(2025, 0));
        // A month alone is not looked at.
        assert_eq!(count("?month=3").await, all.len());
        for nothing in ["?year=1999", "?year=x", "?year=2026&month=13", "?year=2026&month=x"] {
            assert_eq!(count(nothing).await, 0, "{nothing}");
        }
    }

    #[tokio::test]
    async fn leaves_out_what_is_hardly_anything() {
        let sandbox = with(|sandbox| sandbox, &["2026-06-01T10:00:00+02:00"]);
        let id = all(&sandbox)[0]["id"].as_i64().unwrap();
        for (energy, listed) in [(json!(0.0499), 0), (json!(0.05), 1), (Value::Null, 0)] {
            sandbox.mutate(Mutation::Correct { id, fields: json!({"chargedEnergy": energy}) });
            assert_eq!((sessions(&sandbox, "").await.len(), all(&sandbox).len()), (listed, listed));
        }
    }

    #[tokio::test]
    async fn of_a_month_begins_and_ends_at_the_servers_midnight() {
        // The clocks go forward on 29 March, so that the month is 743 hours long; and back on 25 October.
        let starts = [
            "2026-02-28T22:59:59.999Z",
            "2026-02-28T23:00:00Z",
            "2026-03-31T21:59:59.999Z",
            "2026-03-31T22:00:00Z",
            "2026-09-30T22:00:00Z",
            "2026-10-31T22:59:59.999Z",
            "2026-10-31T23:00:00Z",
        ];
        let local = with(|sandbox| sandbox, &starts);
        let utc = with(|sandbox| sandbox.filtered_in_utc(true), &starts);
        for (month, by_the_clock, by_utc) in
            [(2, 1, 2), (3, 2, 2), (4, 1, 0), (9, 0, 1), (10, 2, 2), (11, 1, 0)]
        {
            let query = format!("?year=2026&month={month}");
            assert_eq!(sessions(&local, &query).await.len(), by_the_clock, "{month}");
            assert_eq!(sessions(&utc, &query).await.len(), by_utc, "{month} by UTC");
        }
    }

    #[tokio::test]
    async fn is_wrapped_in_an_older_release() {
        let sandbox = EvccSandbox::builder().wrapped(true).build();
        let body = |response: Response<Bytes>| serde_json::from_slice::<Value>(response.body()).unwrap();
        let count = all(&sandbox).len();
        sandbox.inject(Fault::set_field(0, "vehicle", json!("changed")));
        let listed = body(get(&sandbox, "/api/sessions", "").await);
        assert_eq!(listed["result"].as_array().unwrap().len(), count);
        assert_eq!(listed["result"][0]["vehicle"], "changed");
        assert_eq!(body(get(&sandbox, "/api/state", "").await)["result"]["currency"], "EUR");
    }
}

#[tokio::test]
async fn the_state_names_the_currency_if_there_is_one() {
    for currency in [Some("SEK"), None] {
        let sandbox = EvccSandbox::builder().currency(currency).build();
        let state: Value = serde_json::from_slice(get(&sandbox, "/api/state", "").await.body()).unwrap();
        assert_eq!(state["currency"].as_str(), currency);
    }
}

#[tokio::test]
async fn a_proxy_refuses_who_has_no_credentials() {
    let bearer = EvccSandbox::builder().bearer("t0ken").build();
    let basic = EvccSandbox::builder().credentials("reader", "s3cret").build();
    for (sandbox, right) in [(bearer, "Bearer t0ken"), (basic, "Basic cmVhZGVyOnMzY3JldA==")] {
        for path in ["/api/sessions", "/api/state"] {
            for wrong in ["", "Bearer other", "Basic b3RoZXI6"] {
                assert_eq!(get(&sandbox, path, wrong).await.status(), 401, "{wrong}");
            }
            assert_eq!(get(&sandbox, path, right).await.status(), 200);
        }
        assert!(!format!("{sandbox:?}").contains("0ken"));
        let recorded = format!("{:?}", sandbox.requests());
        assert!(!recorded.contains("t0ken") && !recorded.contains("cmVh"), "{recorded}");
    }
}

#[tokio::test]
async fn users_change_and_delete_sessions() {
    let sandbox = EvccSandbox::builder().build();
    let before = all(&sandbox);
    let [changed, removed] = [&before[2], &before[5]].map(|session| session["id"].as_i64().unwrap());
    let fields = json!({"vehicle": "geliehen", "odometer": 77.7, "id": 999});
    assert!(sandbox.mutate(Mutation::Correct { id: changed, fields }));
    assert!(sandbox.mutate(Mutation::Remove(removed)));
    let new = sandbox.new_id();
    let late = json!({"id": new, "created": "2026-10-01T12:00:00+02:00", "chargedEnergy": 3});
    assert!(sandbox.mutate(Mutation::Insert(late)));
    let after = sessions(&sandbox, "").await;
    let of = |id: i64| after.iter().find(|session| session["id"] == id);
    assert_eq!(of(changed).unwrap()["vehicle"], "geliehen");
    assert_eq!(of(changed).unwrap()["price"], before[2]["price"]);
    assert!(of(removed).is_none() && of(999).is_none() && of(new).is_some());
    assert_eq!(after.len(), before.len());
    assert!(!sandbox.mutate(Mutation::Remove(removed)));
    assert!(!sandbox.mutate(Mutation::Correct { id: removed, fields: json!({}) }));
    assert!(!sandbox.mutate(Mutation::Insert(json!({"id": 5}))));
    assert!(!sandbox.mutate(Mutation::Insert(json!([]))));
    assert_eq!(sandbox.new_id(), new + 1);
}

#[tokio::test(start_paused = true)]
async fn faults_and_limits_are_met_and_can_be_forgotten() {
    let sandbox = EvccSandbox::builder().rate_limit(2, Duration::from_secs(60)).build();
    let offline = Fault::status(400).body("application/json", r#"{"error":"database offline"}"#);
    sandbox.inject(offline.on_path("/api/sessions").times(2));
    assert_eq!(get(&sandbox, "/api/state", "").await.status(), 200);
    let refused = get(&sandbox, "/api/sessions", "").await;
    assert_eq!((refused.status().as_u16(), &refused.body()[..9]), (400, &b"{\"error\":"[..]));
    assert_eq!(sandbox.faults_waiting(), 1);
    sandbox.clear_faults();
    assert_eq!(sandbox.faults_waiting(), 0);
    assert_eq!(get(&sandbox, "/api/sessions", "").await.status(), 200);
    let limited = get(&sandbox, "/api/sessions", "").await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].as_bytes()), (429, &b"60"[..]));
    assert_eq!(get(&sandbox, "/api/health", "").await.status(), 429);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(get(&sandbox, "/api/health", "").await.status(), 404);
    assert_eq!(sandbox.requests().len(), 6);
}
