//! The ev.energy sandbox answers like the documents say, and goes wrong in the ways it promises.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use charging_sessions_testkit::sandbox::{
    Fault, Running,
    ev_energy::{EvEnergySandbox, EvEnergySandboxBuilder, Mutation, PriceShape, RetryAfter},
};
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const LISTING: &str = "charging_sub_sessions";
const FORM: &str = "application/x-www-form-urlencoded";

mod paging {
    use super::*;

    #[tokio::test]
    async fn every_page_size_reads_everything_in_order() {
        for size in ["", "1", "7", "25", "99", "100"] {
            let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(60)).await;
            let query = if size.is_empty() { String::new() } else { format!("?page_size={size}") };
            let read = client.walk(&format!("{LISTING}{query}"), "next").await;
            assert_eq!(Value::from(read), client.sandbox.truth(), "page_size {size:?}");
        }
    }

    #[tokio::test]
    async fn the_way_back_reads_everything_too() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(60)).await;
        let truth = records(&client.sandbox.truth());
        let last = id(truth.last().unwrap());
        // Stands on the last record alone, with everything else before it.
        let mut read = client.walk(&format!("{LISTING}?page_size=7&page_before={last}"), "previous").await;
        read.sort_by(|a, b| id(b).cmp(id(a)));
        assert_eq!(read, truth[..truth.len() - 1]);
    }

    #[tokio::test]
    async fn a_page_before_ends_right_before_its_cursor() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(60)).await;
        let truth = records(&client.sandbox.truth());
        let cursor = id(&truth[30]);
        let page = client.json(&format!("{LISTING}?page_size=10&page_before={cursor}")).await;
        assert_eq!(records(&page), truth[20..30]);
        // `page_before` is ignored beside `page_after`.
        let page =
            client.json(&format!("{LISTING}?page_size=10&page_before={cursor}&page_after={cursor}")).await;
        assert_eq!(records(&page), truth[31..41]);
    }

    #[tokio::test]
    async fn both_links_are_always_there_and_lead_nowhere_at_the_ends() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(3)).await;
        let truth = records(&client.sandbox.truth());
        let (first, second, third) = (id(&truth[0]), id(&truth[1]), id(&truth[2]));
        let base = "https://api.ev.energy/v2/charging_sub_sessions?page_size=1";
        let link = |response: Response<Bytes>| header(&response, "link").to_owned();

        let page = link(client.get(&format!("{LISTING}?page_size=1")).await);
        assert_eq!(
            page,
            format!("<about:blank>; rel=\"previous\", <{base}&page_after={first}>; rel=\"next\"")
        );
        let page = link(client.get(&format!("{LISTING}?page_size=1&page_after={first}")).await);
        assert_eq!(
            page,
            format!(
                "<{base}&page_before={second}>; rel=\"previous\", <{base}&page_after={second}>; rel=\"next\""
            )
        );
        let page = link(client.get(&format!("{LISTING}?page_size=1&page_after={second}")).await);
        assert_eq!(
            page,
            format!("<{base}&page_before={third}>; rel=\"previous\", <about:blank>; rel=\"next\"")
        );
        let page = link(client.get(LISTING).await);
        assert_eq!(page, "<about:blank>; rel=\"previous\", <about:blank>; rel=\"next\"");
    }

    #[tokio::test]
    async fn links_keep_every_parameter_of_the_request() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let filters = "start__lt=2026-10-01T00%3A00%3A00Z&mode=SMART&expand=vehicle&expand=evse.model";
        let response = client.get(&format!("{LISTING}?{filters}")).await;
        let next = link(&response, "next").unwrap();
        assert!(next.contains(&format!("?{filters}&page_size=25&page_after=csub")), "{next}");
    }

    #[tokio::test]
    async fn a_cursor_keeps_its_place_when_its_record_is_gone() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(20)).await;
        let truth = records(&client.sandbox.truth());
        let gone = id(&truth[9]).to_owned();
        assert!(client.sandbox.mutate(Mutation::Remove(gone.clone())));
        let page = client.json(&format!("{LISTING}?page_after={gone}")).await;
        assert_eq!(records(&page), truth[10..]);
        let page = client.json(&format!("{LISTING}?page_before={gone}")).await;
        assert_eq!(records(&page), truth[..9]);
    }

    #[tokio::test]
    async fn a_parameter_that_cannot_be_used_is_named() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for query in [
            "page_size=0",
            "page_size=101",
            "page_size=ten",
            "page_size=-1",
            "page_after=42",
            "page_before=csub01",
            "page_after=vhcl01HSH04KDEWF6Z4DB2J77J74K5",
        ] {
            let problem = client.problem(400, &format!("{LISTING}?{query}")).await;
            assert_eq!(problem["title"], "Invalid pagination parameter", "{query}");
            let name = query.split('=').next().unwrap();
            assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
        }
    }

    #[tokio::test]
    async fn links_lead_to_the_sandbox_only_if_asked() {
        let sandbox = EvEnergySandbox::builder().own_links().build().start().await.unwrap();
        let client = Client::of(&sandbox).await;
        let response = client.get(&format!("{LISTING}?page_size=1")).await;
        assert!(link(&response, "next").unwrap().starts_with(&sandbox.base_url()));
        assert!(body(&response)[0]["url"].as_str().unwrap().starts_with(&sandbox.base_url()));
        sandbox.stop().await;
    }
}

mod filters {
    use super::*;

    /// Sends a filter and compares with what the truth holds.
    async fn check(client: &Client, query: &str, admits: impl Fn(&Value) -> bool) -> usize {
        let read = client.walk(&format!("{LISTING}?page_size=100&{query}"), "next").await;
        let expected: Vec<Value> = records(&client.sandbox.truth()).into_iter().filter(admits).collect();
        assert_eq!(read, expected, "{query}");
        assert!(!expected.is_empty(), "{query} finds nothing, so it tests nothing");
        expected.len()
    }

    #[tokio::test]
    async fn bounds_of_time_are_excluded() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let truth = records(&client.sandbox.truth());
        let all = truth.len();
        for field in ["start", "end"] {
            let at = |record: &Value| moment(&record[field]);
            let bound = truth[all / 2][field].as_str().unwrap().to_owned();
            let exact: Timestamp = bound.parse().unwrap();
            let after = check(&client, &format!("{field}__gt={bound}"), |it| at(it) > Some(exact)).await;
            let before =
                check(&client, &format!("{field}__lt={bound}"), |it| at(it).is_some_and(|at| at < exact))
                    .await;
            let without = truth.iter().filter(|it| it[field].is_null()).count();
            assert_eq!(after + before + 1 + without, all, "one record lies on the bound");
        }
    }

    #[tokio::test]
    async fn an_offset_names_the_same_moment() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let utc = client.json(&format!("{LISTING}?start__gt=2026-10-01T00:00:00Z")).await;
        let offset = client.json(&format!("{LISTING}?start__gt=2026-10-01T02:00:00%2B02:00")).await;
        assert_eq!(utc, offset);
    }

    #[tokio::test]
    async fn bounds_of_energy_are_included() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let energy = |it: &Value| it["energy_delivered_watt_hours"].as_i64().unwrap();
        let truth = records(&client.sandbox.truth());
        let bound = energy(truth.iter().find(|it| energy(it) > 10_000).unwrap());
        let name = "energy_delivered_watt_hours";
        let up = check(&client, &format!("{name}__gte={bound}"), |it| energy(it) >= bound).await;
        let down = check(&client, &format!("{name}__lte={bound}"), |it| energy(it) <= bound).await;
        let equal = truth.iter().filter(|it| energy(it) == bound).count();
        assert_eq!(up + down, truth.len() + equal);
    }

    #[tokio::test]
    async fn finished_means_that_there_is_an_end() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let finished = check(&client, "is_finished=true", |it| !it["end"].is_null()).await;
        let ongoing = check(&client, "is_finished=false", |it| it["end"].is_null()).await;
        assert_eq!(finished + ongoing, records(&client.sandbox.truth()).len());
    }

    #[tokio::test]
    async fn modes_vehicles_and_chargers_are_found() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).days(180)).await;
        for mode in ["SMART", "BOOST", "UNMANAGED_HOME", "UNMANAGED_OTG", "MANAGED_OTG"] {
            check(&client, &format!("mode={mode}"), |it| it["mode"] == mode).await;
        }
        let truth = records(&client.sandbox.truth());
        for (field, parameter) in [("vehicle", "vehicle_id"), ("evse", "evse_id")] {
            let url = truth.iter().find_map(|it| it[field].as_str()).unwrap().to_owned();
            let id = url.rsplit('/').next().unwrap().to_owned();
            check(&client, &format!("{parameter}={id}"), |it| it[field] == *url).await;
        }
    }

    #[tokio::test]
    async fn people_share_out_the_records_among_them() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let users = client.sandbox.user_ids();
        let mut read = Vec::new();
        for user in &users {
            let path = format!("{LISTING}?page_size=100&user_id={user}");
            let of_user = client.walk(&path, "next").await;
            assert!(!of_user.is_empty());
            read.extend(of_user);
        }
        assert_eq!(read.len(), records(&client.sandbox.truth()).len());

        let first = client.json(&format!("{LISTING}?user_id={}", users[0])).await;
        assert_eq!(client.json(&format!("{LISTING}?user_id=me")).await, first);
        let second = client.json(&format!("{LISTING}?user_id={}", users[1])).await;
        let url = format!("https://api.ev.energy/v2/users/{}/", users[1]);
        for value in [&users[1], &url] {
            let request = client.request(LISTING).header("EvEnergy-User", value);
            assert_eq!(body(&client.send(request).await), second);
            let me = client.request(&format!("{LISTING}?user_id=me")).header("EvEnergy-User", value);
            assert_eq!(body(&client.send(me).await), second);
        }
    }

    #[tokio::test]
    async fn unknown_and_valueless_parameters_are_ignored() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let all = client.json(LISTING).await;
        for query in ["updated_since=2026-01-01", "start__gte=nonsense", "start__gt=", "mode="] {
            assert_eq!(client.json(&format!("{LISTING}?{query}")).await, all, "{query}");
        }
    }

    #[tokio::test]
    async fn every_wrong_value_is_named() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        // An unescaped plus sign is a space.
        let query = "start__gt=2026-10-01T00:00:00+00:00&end__lt=2026-10-01&mode=FAST&is_finished=maybe\
                     &evse_id=1&energy_delivered_watt_hours__gte=1.5";
        let problem = client.problem(400, &format!("{LISTING}?{query}")).await;
        let names: Vec<&String> = problem["field_errors"].as_object().unwrap().keys().collect();
        let expected =
            ["end__lt", "energy_delivered_watt_hours__gte", "evse_id", "is_finished", "mode", "start__gt"];
        assert_eq!(names, expected);
        assert!(problem["field_errors"]["mode"][0].is_string());
    }
}

mod sign_in {
    use super::*;

    #[tokio::test]
    async fn client_credentials_are_taken_as_basic_or_in_the_form() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        let by_header = client.token(Some("Basic bWU6czNjcmV0"), "grant_type=client_credentials").await;
        let by_form =
            client.token(None, "grant_type=client_credentials&client_id=me&client_secret=s3cret").await;
        for response in [by_header, by_form] {
            assert_eq!(response.status(), 200);
            let body = body(&response);
            assert_eq!(body["expires_in"], 36_000);
            assert_eq!(body["token_type"], "Bearer");
            assert!(body["refresh_token"].is_null());
            let request = get(LISTING).header("authorization", bearer(&body));
            assert_eq!(client.send(request).await.status(), 200);
        }
    }

    #[tokio::test]
    async fn refusals_use_the_words_of_oauth() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        let basic = Some("Basic bWU6czNjcmV0");
        for (authorization, form, status, error) in [
            (Some("Basic bWU6d3Jvbmc="), "grant_type=client_credentials", 401, "invalid_client"),
            (Some("Basic ???"), "grant_type=client_credentials", 401, "invalid_client"),
            (None, "grant_type=client_credentials", 401, "invalid_client"),
            (None, "grant_type=client_credentials&client_id=me", 401, "invalid_client"),
            (basic, "grant_type=password", 400, "unsupported_grant_type"),
            (basic, "", 400, "unsupported_grant_type"),
            (basic, "grant_type=refresh_token", 400, "invalid_request"),
            (basic, "grant_type=refresh_token&refresh_token=x", 400, "invalid_grant"),
        ] {
            let response = client.token(authorization, form).await;
            assert_eq!((response.status().as_u16(), body(&response)), (status, json!({ "error": error })));
        }
        assert_eq!(client.sandbox.token_requests(), 1 + 8);
    }

    #[tokio::test]
    async fn a_refresh_token_works_once_and_brings_its_successor() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        let refresh = |token: String| {
            format!("grant_type=refresh_token&refresh_token={token}&client_id=me&client_secret=s3cret")
        };
        let first = client.sandbox.issue_refresh_token();
        let answer = client.token(None, &refresh(first.clone())).await;
        assert_eq!(answer.status(), 200);
        let second = body(&answer)["refresh_token"].as_str().unwrap().to_owned();
        assert_ne!(first, second);
        assert_eq!(client.token(None, &refresh(first)).await.status(), 400);
        assert_eq!(client.token(None, &refresh(second)).await.status(), 200);

        // The token of a person sees what that person may see.
        let mine = body(&client.send(get(LISTING).header("authorization", bearer(&body(&answer)))).await);
        assert_eq!(mine, client.json(&format!("{LISTING}?user_id={}", client.sandbox.user_ids()[0])).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_works_once_and_for_a_minute() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        let exchange = |code: &str| {
            format!("grant_type=authorization_code&code={code}&client_id=me&client_secret=s3cret")
        };
        let (used, late) =
            (client.sandbox.issue_authorization_code(), client.sandbox.issue_authorization_code());
        assert_eq!(client.token(None, &exchange(&used)).await.status(), 200);
        assert_eq!(client.token(None, &exchange(&used)).await.status(), 400);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(client.token(None, &exchange(&late)).await.status(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_with_its_lifetime() {
        let client = Client::new(EvEnergySandbox::builder().token_lifetime(Duration::from_secs(60))).await;
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert_eq!(client.get(LISTING).await.status(), 200);
        tokio::time::advance(Duration::from_millis(1)).await;
        let problem = client.problem(401, LISTING).await;
        assert_eq!(keys(&problem), ["detail", "status", "title"]);
    }

    #[tokio::test]
    async fn without_authorization_a_gateway_answers_in_plain_text() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for path in [LISTING, "nowhere", ".well-known/x"] {
            let response = client.send(get(path)).await;
            assert_eq!(response.status(), 403);
            assert_eq!(header(&response, "content-type"), "text/plain");
        }
        for authorization in ["Bearer unknown", "Bearer", "Basic bWU6czNjcmV0"] {
            let response = client.send(get(LISTING).header("authorization", authorization)).await;
            assert_eq!(response.status(), 401);
            assert_eq!(header(&response, "content-type"), "application/problem+json");
        }
    }

    #[tokio::test]
    async fn the_token_address_needs_its_slash() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for path in ["/o/token", "/o/revoke_token"] {
            let request = Request::post(path).header("content-type", FORM);
            assert_eq!(client.send(request).await.status(), 405);
        }
    }

    #[tokio::test]
    async fn a_revoked_token_is_refused() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        let token = client.bearer.strip_prefix("Bearer ").unwrap();
        let request = Request::post("/o/revoke_token/")
            .header("content-type", FORM)
            .header("authorization", "Basic bWU6czNjcmV0")
            .body(Bytes::from(format!("token={token}")))
            .unwrap();
        assert_eq!(client.sandbox.call(request).await.unwrap().status(), 200);
        client.problem(401, LISTING).await;
    }

    #[tokio::test]
    async fn no_secret_is_shown_or_recorded() {
        let client = Client::new(EvEnergySandbox::builder().credentials("me", "s3cret")).await;
        client.get(LISTING).await;
        let shown = format!("{:?} {:?}", client.sandbox, client.sandbox.requests());
        assert!(!shown.contains("s3cret") && !shown.contains("bWU6czNjcmV0"), "{shown}");
        assert!(!shown.contains(client.bearer.strip_prefix("Bearer ").unwrap()), "{shown}");
        assert_eq!(client.sandbox.requests()[0].header("authorization"), Some("Basic"));
        assert_eq!(client.sandbox.requests()[1].to_string(), "GET /v2/charging_sub_sessions -> 200");
    }
}

mod limits {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_told_and_kept_over_a_rolling_window() {
        let client = Client::new(EvEnergySandbox::builder().rate_limit(2, Duration::from_secs(3600))).await;
        for remaining in ["1", "0"] {
            let response = client.get(LISTING).await;
            assert_eq!(header(&response, "x-ratelimit-limit"), "2");
            assert_eq!(header(&response, "x-ratelimit-remaining"), remaining);
            tokio::time::advance(Duration::from_millis(400)).await;
        }
        let refused = client.get(LISTING).await;
        assert_eq!(refused.status(), 429);
        // 3599.2 seconds, and who waits less comes too early.
        assert_eq!(header(&refused, "retry-after"), "3600");
        assert_eq!(header(&refused, "x-ratelimit-remaining"), "0");
        assert_eq!(body(&refused)["status"], 429);
        tokio::time::advance(Duration::from_millis(3_599_200)).await;
        assert_eq!(client.get(LISTING).await.status(), 200);
        assert_eq!(client.get(LISTING).await.status(), 429);
    }

    #[tokio::test]
    async fn the_wait_can_be_spelt_in_one_word() {
        let builder = EvEnergySandbox::builder().rate_limit(0, Duration::from_secs(42));
        let client = Client::new(builder.retry_after(RetryAfter::Joined)).await;
        let refused = client.get(LISTING).await;
        assert_eq!(header(&refused, "retryafter"), "42");
        assert!(!refused.headers().contains_key("retry-after"));
    }

    #[tokio::test]
    async fn what_is_refused_before_is_not_counted() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.send(get(LISTING).header("authorization", "Bearer unknown")).await;
        client.send(client.request(LISTING).header("accept", "text/html")).await;
        assert_eq!(header(&client.get("nowhere").await, "x-ratelimit-remaining"), "999");
    }

    #[tokio::test(start_paused = true)]
    async fn latency_delays_data_and_no_token() {
        let start = tokio::time::Instant::now();
        let client = Client::new(EvEnergySandbox::builder().latency(Duration::from_secs(2))).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        client.get(LISTING).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}

mod forms {
    use super::*;

    #[tokio::test]
    async fn only_version_two_exists() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for version in ["2", "2.0"] {
            let response = client.send(client.request(LISTING).header("EvEnergy-Version", version)).await;
            assert_eq!(response.status(), 200);
            assert_eq!(header(&response, "evenergy-version"), "2.0");
        }
        assert_eq!(header(&client.get(LISTING).await, "evenergy-version"), "2.0");
        for version in ["1", "2.1", "3.0", "two"] {
            let response = client.send(client.request(LISTING).header("EvEnergy-Version", version)).await;
            assert_eq!(response.status(), 400);
            assert_eq!(body(&response)["title"], "Unsupported version");
        }
    }

    #[tokio::test]
    async fn accept_must_admit_json() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for accept in ["*/*", "application/json", "text/html, application/*;q=0.5", "Application/JSON"] {
            let response = client.send(client.request(LISTING).header("accept", accept)).await;
            assert_eq!(response.status(), 200, "{accept}");
        }
        for accept in ["text/csv", "application/xml, text/*", "application/json;q=0"] {
            let response = client.send(client.request(LISTING).header("accept", accept)).await;
            assert_eq!(response.status(), 406, "{accept}");
            assert_eq!(keys(&body(&response)), ["detail", "status", "title"]);
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        let unknown = "csub01HSH04KDEWF6Z4DB2J77J74K5";
        for path in [
            format!("{LISTING}/{unknown}"),
            format!("{LISTING}/{unknown}/energy_usage"),
            format!("{LISTING}/{unknown}/schedules"),
            format!("{LISTING}/{unknown}/flags"),
            format!("{LISTING}/42"),
            format!("{LISTING}/"),
            "charging_sessions/cses01HSH04KDEWF6Z4DB2J77J74K5".to_owned(),
            "nowhere".to_owned(),
        ] {
            let problem = client.problem(404, &path).await;
            assert_eq!(keys(&problem), ["detail", "status", "title"], "{path}");
        }
        let post = Request::post(format!("/v2/{LISTING}")).header("authorization", &client.bearer);
        assert_eq!(client.send(post).await.status(), 405);
    }

    #[tokio::test]
    async fn links_become_objects_when_expanded() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).dirt(false)).await;
        let truth = records(&client.sandbox.truth());
        let record = truth.iter().find(|it| it["evse"].is_string()).unwrap();
        let path = format!("{LISTING}/{}", id(record));
        assert_eq!(client.json(&path).await, *record);

        let shown = client.json(&format!("{path}?expand=vehicle.trim.model.make&expand=evse")).await;
        assert_eq!(shown["vehicle"]["url"], record["vehicle"]);
        assert!(shown["vehicle"]["trim"]["model"]["make"]["name"].is_string());
        assert!(shown["vehicle"]["user"].is_string());
        assert_eq!(shown["evse"]["url"], record["evse"]);
        assert!(shown["evse"]["model"].is_string());

        let all = "expand=evse.model.make&expand=evse.user&expand=vehicle.user&expand=energy_usage\
                   &expand=flags&expand=schedules&expand=tariff.supplier&expand=debug_metadata\
                   &expand=assessment&expand=carbon_feed&expand=grid_feeds&expand=vehicle.latest_status_log";
        let shown = client.json(&format!("{path}?{all}")).await;
        for pointer in [
            "/evse/model/make/name",
            "/evse/user/full_name",
            "/vehicle/user/full_name",
            "/energy_usage/intervals",
            "/flags/flags",
            "/schedules/schedules",
            "/tariff/supplier/name",
            "/debug_metadata/energy_usage_calculation_method",
        ] {
            assert!(shown.pointer(pointer).is_some_and(|it| !it.is_null()), "{pointer}");
        }
        for name in ["energy_usage", "flags", "schedules", "debug_metadata", "assessment"] {
            assert_eq!(client.json(&format!("{path}/{name}")).await, shown[name], "{name}");
        }
        let part = client.json(&format!("{path}/flags?expand=charging_sub_session")).await;
        assert_eq!(part["charging_sub_session"], *record);
    }

    #[tokio::test]
    async fn what_cannot_be_expanded_is_refused() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for path in ["driver", "vehicle,evse", "vehicle.battery", ""] {
            let problem = client.problem(400, &format!("{LISTING}?expand={path}")).await;
            assert!(problem["field_errors"]["expand"].is_array(), "{path}");
        }
        client.problem(400, "charging_sessions?expand=tariff").await;
    }

    #[tokio::test]
    async fn plug_ins_hold_their_sub_sessions_newest_first() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).days(140)).await;
        let read = client.walk("charging_sessions?page_size=9&expand=sub_sessions", "next").await;
        let truth = records(&client.sandbox.plug_in_truth());
        assert_eq!(read.len(), truth.len());
        let sub_sessions = records(&client.sandbox.truth());
        for plug_in in &read {
            let parts = plug_in["sub_sessions"].as_array().unwrap();
            assert!((1..=3).contains(&parts.len()));
            assert!(parts.is_sorted_by(|a, b| id(a) > id(b)));
            assert!(parts.iter().all(|part| sub_sessions.contains(part)));
            assert!(plug_in["start"].as_str().unwrap() >= "2026-07-01");
            assert_eq!(client_url(plug_in), plug_in["url"]);
        }
        assert!(read.iter().any(|it| it["sub_sessions"].as_array().unwrap().len() == 3));
        // What happened before July 2026 has sub-sessions only.
        assert!(sub_sessions.iter().any(|it| it["start"].as_str().unwrap() < "2026-06-15"));
        let one = client.json(&format!("charging_sessions/{}", id(&truth[0]))).await;
        assert_eq!(one, truth[0]);
    }

    fn client_url(plug_in: &Value) -> String {
        format!("https://api.ev.energy/v2/charging_sessions/{}", id(plug_in))
    }
}

mod energy_usage {
    use super::*;

    #[tokio::test]
    async fn intervals_are_aligned_half_hours_that_make_up_the_energy() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let shown = client.walk(&format!("{LISTING}?page_size=100&expand=energy_usage"), "next").await;
        let mut wrong = 0;
        for record in shown.iter().filter(|it| it["energy_usage"].is_object()) {
            let intervals = intervals(&record["energy_usage"]);
            for interval in &intervals {
                let start = moment(&interval["started_at"]).unwrap();
                assert_eq!(start.as_second() % 1800, 0);
                assert_eq!(interval["interval_seconds"], 1800);
                assert_eq!(by_price(interval), wh(interval), "the parts by price are the whole");
                assert_eq!(interval["percentage_import"], share_of_grid(interval), "{interval}");
            }
            let starts: Vec<i64> =
                intervals.iter().map(|it| moment(&it["started_at"]).unwrap().as_second()).collect();
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == 1800), "gaps are zeros");
            let sum: i64 = intervals.iter().map(wh).sum();
            let energy = record["energy_delivered_watt_hours"].as_i64().unwrap();
            assert!(sum == energy || sum * 1000 == energy, "{record}");
            wrong += usize::from(sum != energy);
        }
        assert!((1..=3).contains(&wrong), "{wrong} records have the wrong unit");

        /// What comes from the roof costs nothing; a free charge is the only other thing without a price.
        fn share_of_grid(interval: &Value) -> Value {
            let free = interval["electricity_cost_sub_unit"] == "0"
                || interval["electricity_cost_sub_unit"].is_null();
            if wh(interval) == 0 || free {
                return interval["percentage_import"].clone();
            }
            let entries = records(&interval["energy_delivered_by_price"]);
            let paid = entries.iter().filter(|it| it["price"] != "0");
            let paid: i64 = paid.map(|it| it["energy_delivered_watt_hours"].as_i64().unwrap()).sum();
            json!(paid * 100 / wh(interval))
        }

        fn by_price(interval: &Value) -> i64 {
            let entries = interval["energy_delivered_by_price"].as_array().unwrap();
            // Without a price there are no parts.
            if interval["electricity_cost_sub_unit"].is_null() {
                return wh(interval);
            }
            entries.iter().map(|it| it["energy_delivered_watt_hours"].as_i64().unwrap()).sum()
        }
    }

    #[tokio::test]
    async fn the_cost_is_the_sum_over_intervals_and_prices() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let shown = client.walk(&format!("{LISTING}?page_size=100&expand=energy_usage"), "next").await;
        let mut prices = BTreeSet::new();
        for record in shown.iter().filter(|it| it["energy_usage"].is_object() && !it["cost"].is_null()) {
            let mut thousandths = 0.0;
            for interval in intervals(&record["energy_usage"]) {
                for entry in interval["energy_delivered_by_price"].as_array().unwrap() {
                    let price = entry["price"].as_str().unwrap();
                    prices.insert(price.to_owned());
                    thousandths += price.parse::<f64>().unwrap()
                        * entry["energy_delivered_watt_hours"].as_f64().unwrap();
                }
            }
            let cost = record["cost"].as_f64().unwrap();
            assert!((thousandths / 1000.0 - cost).abs() <= 0.500_001, "{record}");
        }
        assert_eq!(prices.iter().map(String::as_str).collect::<Vec<_>>(), ["0", "24.86", "7.5"]);
    }

    #[tokio::test]
    async fn merged_intervals_add_up_their_rates() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let mut sums = BTreeSet::new();
        for record in records(&client.sandbox.truth()).iter().take(80) {
            let path = format!("{LISTING}/{}/energy_usage", id(record));
            let plain = intervals(&client.json(&path).await);
            let merged = client.json(&format!("{path}?merge_consecutive_intervals=true")).await;
            let merged = intervals(&merged);
            assert_eq!(plain.iter().map(wh).sum::<i64>(), merged.iter().map(wh).sum::<i64>());
            assert_eq!(plain.iter().map(seconds).sum::<i64>(), merged.iter().map(seconds).sum::<i64>());
            assert!(merged.windows(2).all(|pair| (wh(&pair[0]) > 0) != (wh(&pair[1]) > 0)));
            sums.extend(
                merged.iter().filter_map(|it| Some(it["electricity_cost_sub_unit"].as_str()?.to_owned())),
            );
        }
        assert!(sums.contains("32.36"), "7.5 and 24.86 make 32.36, which nobody pays: {sums:?}");

        fn seconds(interval: &Value) -> i64 {
            interval["interval_seconds"].as_i64().unwrap()
        }
    }

    #[tokio::test]
    async fn gaps_can_be_left_out() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).dirt(false)).await;
        let mut gaps = 0;
        for record in records(&client.sandbox.truth()).iter().take(20) {
            let path = format!("{LISTING}/{}/energy_usage", id(record));
            let all = intervals(&client.json(&path).await);
            let some = intervals(&client.json(&format!("{path}?energy_delivered_watt_hours__gt=0")).await);
            assert!(some.iter().all(|it| wh(it) > 0));
            assert_eq!(some, all.iter().filter(|it| wh(it) > 0).cloned().collect::<Vec<_>>());
            gaps += all.len() - some.len();
        }
        assert!(gaps > 0);
    }

    #[tokio::test]
    async fn energy_by_price_can_be_an_object() {
        let builder = EvEnergySandbox::builder().seed(7).price_shape(PriceShape::Object);
        let client = Client::new(builder).await;
        let page = client.json(&format!("{LISTING}?expand=energy_usage")).await;
        let records = records(&page);
        let shapes: Vec<Value> = records
            .iter()
            .filter(|it| it["energy_usage"].is_object())
            .flat_map(|it| intervals(&it["energy_usage"]))
            .map(|it| it["energy_delivered_by_price"].clone())
            .collect();
        assert!(shapes.iter().any(Value::is_null) && shapes.iter().any(|it| it["price"].is_string()));
    }

    #[tokio::test]
    async fn prices_fit_the_currency() {
        for (currency, night, off_peak) in
            [("JPY", "18.5", "18.5"), ("KWD", "3.2", "0.0032"), ("EUR", "14.2", "0.142")]
        {
            let builder = EvEnergySandbox::builder().seed(7).dirt(false).account_currency(currency);
            let client = Client::new(builder).await;
            let page = client.json(&format!("{LISTING}?expand=energy_usage&expand=tariff")).await;
            let records = records(&page);
            assert!(records.iter().all(|it| it["currency"] == currency));
            let tariff = records.iter().find(|it| it["tariff"].is_object()).unwrap();
            assert_eq!(tariff["tariff"]["daily_prices"]["off_peak"]["price"], off_peak);
            let rates: BTreeSet<String> = records
                .iter()
                .flat_map(|it| intervals(&it["energy_usage"]))
                .filter_map(|it| Some(it["electricity_cost_sub_unit"].as_str()?.to_owned()))
                .collect();
            assert!(rates.contains(night), "{currency}: {rates:?}");
        }
    }

    #[tokio::test]
    async fn schedules_can_be_bounded_and_bounds_are_included() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).dirt(false)).await;
        let truth = records(&client.sandbox.truth());
        let record = truth.iter().find(|it| it["mode"] == "SMART" && !it["end"].is_null()).unwrap();
        let path = format!("{LISTING}/{}/schedules", id(record));
        let all = client.json(&path).await["schedules"].clone();
        let (first, last) = (&all[0]["started_at"], &all.as_array().unwrap().last().unwrap()["started_at"]);
        let (first, last) = (first.as_str().unwrap(), last.as_str().unwrap());
        let bounded = client.json(&format!("{path}?started_at__gte={first}&started_at__lte={last}")).await;
        assert_eq!(bounded["schedules"], all);
        let one = client.json(&format!("{path}?started_at__lte={first}")).await;
        assert_eq!(one["schedules"].as_array().unwrap().len(), 1);
        client.problem(400, &format!("{path}?started_at__lte=now")).await;
    }

    fn intervals(usage: &Value) -> Vec<Value> {
        records(&usage["intervals"])
    }

    fn wh(interval: &Value) -> i64 {
        interval["total_energy_delivered_watt_hours"].as_i64().unwrap()
    }
}

mod data {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let build = |seed| EvEnergySandbox::builder().seed(seed).build();
        let (one, two) = (build(7), build(7));
        assert_eq!(one.truth().to_string(), two.truth().to_string());
        assert_eq!(one.plug_in_truth().to_string(), two.plug_in_truth().to_string());
        assert_eq!(one.client_secret(), two.client_secret());
        assert_ne!(one.truth(), build(8).truth());
    }

    #[test]
    fn a_number_of_sessions_is_kept_exactly() {
        for count in [0, 1, 17, 400] {
            let truth = records(&EvEnergySandbox::builder().sessions(count).build().truth());
            assert_eq!(truth.len(), count);
        }
    }

    #[test]
    fn every_kind_of_dirt_is_there_in_ninety_days() {
        for seed in 0..20 {
            let truth = records(&EvEnergySandbox::builder().seed(seed).build().truth());
            let finished = |it: &Value| !it["end"].is_null();
            let energy = |it: &Value| it["energy_delivered_watt_hours"].as_i64().unwrap();
            let at_home = |it: &Value| it["labels"] != json!(["AWAY"]);
            let seconds =
                |it: &Value| Some(moment(&it["end"])?.as_second() - moment(&it["start"])?.as_second());
            let name = |it: &Value| it["location"]["name"].as_str().unwrap().to_owned();
            type Check<'a> = (&'a str, &'a dyn Fn(&Value) -> bool);
            let checks: [Check<'_>; 20] = [
                ("no energy", &|it| finished(it) && energy(it) == 0),
                ("shorter than a minute", &|it| seconds(it) == Some(41)),
                ("clock skew", &|it| seconds(it) == Some(-60)),
                ("wrong unit", &|it| energy(it) >= 1_000_000),
                ("coordinates", &|it| it.pointer("/location/coordinates") == Some(&Value::Null)),
                ("postal code", &|it| it.pointer("/location/postal_code") == Some(&Value::Null)),
                ("time zone", &|it| it.pointer("/location/timezone") == Some(&Value::Null)),
                ("mode", &|it| it["mode"] == "GRID_SERVICES"),
                ("label", &|it| it["labels"] == json!(["PRIMARY", "WINTER_PEAK"])),
                ("unknown cost", &|it| at_home(it) && it["cost"].is_null() && energy(it) > 0),
                ("no cost", &|it| at_home(it) && it["cost"] == 0 && energy(it) > 1000),
                ("minimal", &|it| it.get("vehicle").is_none() && it.get("labels").is_none()),
                ("no vehicle", &|it| it.get("vehicle") == Some(&Value::Null) && it["evse"].is_string()),
                ("no evse", &|it| it.get("evse") == Some(&Value::Null) && it["vehicle"].is_string()),
                ("neither", &|it| {
                    it.get("evse") == Some(&Value::Null) && it.get("vehicle") == Some(&Value::Null)
                }),
                ("fractions", &|it| it["start"].as_str().unwrap().ends_with(".225655Z")),
                ("not ASCII", &|it| !name(it).is_ascii()),
                ("formula", &|it| name(it).starts_with('=')),
                ("escape", &|it| name(it).contains('\u{1b}')),
                ("other zone", &|it| it["location"]["timezone"] == "Atlantic/Azores"),
            ];
            for (kind, check) in checks {
                assert!(truth.iter().any(check), "seed {seed} lacks: {kind}");
            }
        }
    }

    #[test]
    fn clean_data_is_consistent() {
        for seed in 0..4 {
            let truth = records(&EvEnergySandbox::builder().seed(seed).days(365).dirt(false).build().truth());
            let number = |it: &Value, name: &str| it[name].as_i64().unwrap();
            for it in &truth {
                let energy = number(it, "energy_delivered_watt_hours");
                let (grid, solar) = (
                    number(it, "grid_energy_delivered_watt_hours"),
                    number(it, "solar_energy_delivered_watt_hours"),
                );
                assert_eq!(grid + solar, energy);
                let start = moment(&it["start"]).unwrap();
                let end = moment(&it["end"]).unwrap_or(now());
                assert!(start < end && end <= now(), "{it}");
                assert!(
                    number(it, "duration_minutes") * 60 <= end.as_second() - start.as_second() + 30,
                    "{it}"
                );
                assert!((0..=100_000).contains(&energy), "{it}");
                assert!(it["vehicle"].is_string());
            }
            let ids: BTreeSet<&str> = truth.iter().map(id).collect();
            assert_eq!(ids.len(), truth.len());
            assert!(truth.is_sorted_by(|a, b| id(a) > id(b)));
            assert!(!truth.is_sorted_by(|a, b| a["start"].as_str() > b["start"].as_str()));
        }
    }

    #[test]
    fn ids_tell_the_creation_which_is_not_quite_the_start() {
        let truth = records(&EvEnergySandbox::builder().seed(7).days(365).dirt(false).build().truth());
        let late: Vec<i64> =
            truth.iter().map(|it| created(id(it)) - moment(&it["start"]).unwrap().as_millisecond()).collect();
        let of = |range: std::ops::Range<i64>| late.iter().filter(|it| range.contains(it)).count();
        assert!(of(-21_000..0) > 5, "some were made before they began");
        assert!(of(3_600_000..22_000_000) > 5, "some were made hours later");
        assert!(of(0..90_000) > late.len() * 8 / 10, "most were made at once");
        assert!(truth.iter().all(|it| created(id(it)) < now().as_millisecond()));

        fn created(id: &str) -> i64 {
            let digit = |it| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(it).unwrap() as i64;
            id[4..14].chars().fold(0, |sum, it| sum * 32 + digit(it))
        }
    }

    #[test]
    fn a_vehicle_is_in_one_place_at_a_time() {
        let sandbox =
            EvEnergySandbox::builder().seed(3).days(365).dirt(false).plug_ins_since(Timestamp::UNIX_EPOCH);
        let plug_ins = records(&sandbox.build().plug_in_truth());
        for field in ["vehicle", "evse"] {
            let mut spans: Vec<(&str, Timestamp, Timestamp)> = plug_ins
                .iter()
                .filter_map(|it| {
                    let end = moment(&it["end"]).unwrap_or(now());
                    Some((it[field].as_str()?, moment(&it["start"])?, end))
                })
                .collect();
            spans.sort();
            for pair in spans.windows(2) {
                assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_figures_look_like_charging() {
        let truth = records(&EvEnergySandbox::builder().seed(7).days(365).dirt(false).build().truth());
        let of = |mode: &str| truth.iter().filter(|it| it["mode"] == mode).count();
        assert!((700..1300).contains(&truth.len()), "{}", truth.len());
        assert!(of("SMART") > truth.len() / 2);
        for mode in ["BOOST", "UNMANAGED_HOME", "UNMANAGED_OTG", "MANAGED_OTG"] {
            assert!(of(mode) > 5, "{mode}: {}", of(mode));
        }
        let energy = |it: &&Value| it["energy_delivered_watt_hours"].as_i64().unwrap();
        let month = |it: &&Value, month: &str| it["start"].as_str().unwrap()[5..7] == *month;
        let sum = |name: &str| truth.iter().filter(|it| month(it, name)).map(|it| energy(&it)).sum::<i64>();
        assert!(sum("01") + sum("12") + sum("02") > sum("06") + sum("07") + sum("08"));
        let solar = |it: &&Value| it["solar_energy_delivered_watt_hours"].as_i64().unwrap();
        assert!(truth.iter().filter(|it| month(it, "07")).map(|it| solar(&it)).sum::<i64>() > 5_000);
        let mut sizes: Vec<i64> = truth.iter().map(|it| energy(&it)).filter(|wh| *wh > 0).collect();
        sizes.sort_unstable();
        let median = sizes[sizes.len() / 2];
        assert!((7_000..18_000).contains(&median), "{median}");
    }

    #[test]
    fn something_is_going_on_now_at_any_hour() {
        for hour in 0..24 {
            let now: Timestamp = format!("2026-02-03T{hour:02}:10:00Z").parse().unwrap();
            let truth = records(&EvEnergySandbox::builder().now(now).build().truth());
            let ongoing: Vec<&Value> = truth.iter().filter(|it| it["end"].is_null()).collect();
            let energy = |it: &&&Value| it["energy_delivered_watt_hours"].as_i64().unwrap();
            assert!(ongoing.iter().any(|it| energy(&it) == 0), "hour {hour}");
            assert!(ongoing.iter().any(|it| energy(&it) > 10_000), "hour {hour}");
        }
    }

    #[test]
    fn a_record_of_each_kind() {
        let truth = records(&EvEnergySandbox::builder().seed(7).build().truth());
        let first = |check: &dyn Fn(&Value) -> bool| truth.iter().find(|it| check(it)).unwrap().clone();
        insta::assert_json_snapshot!(json!({
            "smart": first(&|it| it["mode"] == "SMART" && it["cost"].as_i64() > Some(0)),
            "ongoing": first(&|it| it["end"].is_null() && it["mode"] == "BOOST"),
            "on_the_go": first(&|it| it["mode"] == "UNMANAGED_OTG"),
            "minimal": first(&|it| it.get("vehicle").is_none()),
        }));
    }

    #[tokio::test]
    async fn a_usage_and_a_plug_in() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let truth = records(&client.sandbox.truth());
        let boost = truth.iter().find(|it| it["mode"] == "BOOST" && !it["end"].is_null()).unwrap();
        insta::assert_json_snapshot!(json!({
            "energy_usage": client.json(&format!("{LISTING}/{}/energy_usage", id(boost))).await,
            "plug_in": client.sandbox.plug_in_truth()[0],
        }));
    }

    fn now() -> Timestamp {
        "2026-10-20T18:30:00Z".parse().unwrap()
    }
}

mod mutations {
    use super::*;

    #[tokio::test]
    async fn a_late_correction_changes_the_record_and_its_intervals() {
        let client = Client::new(EvEnergySandbox::builder().seed(7).dirt(false)).await;
        let truth = records(&client.sandbox.truth());
        let record = truth.iter().find(|it| !it["end"].is_null() && it["cost"].as_i64() > Some(0)).unwrap();
        let id = id(record).to_owned();
        let fields = json!({ "energy_delivered_watt_hours": 12_345, "cost": 99 });
        assert!(client.sandbox.mutate(Mutation::Correct { id: id.clone(), fields }));
        let shown = client.json(&format!("{LISTING}/{id}?expand=energy_usage")).await;
        assert_eq!((&shown["energy_delivered_watt_hours"], &shown["cost"]), (&json!(12_345), &json!(99)));
        let intervals = records(&shown["energy_usage"]["intervals"]);
        let sum: i64 =
            intervals.iter().map(|it| it["total_energy_delivered_watt_hours"].as_i64().unwrap()).sum();
        assert_eq!(sum, 12_345);
        assert_eq!(shown["energy_usage"]["last_updated_at"], "2026-10-20T18:30:00Z");
    }

    #[tokio::test]
    async fn an_inserted_record_stands_where_its_id_says() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let new = client.sandbox.new_id("2026-10-20T18:29:59.999Z".parse().unwrap());
        let record = json!({ "id": new, "start": "2026-10-20T18:00:00Z", "end": null, "energy_delivered_watt_hours": 5 });
        assert!(client.sandbox.mutate(Mutation::Insert(record.clone())));
        assert_eq!(client.json(&format!("{LISTING}?page_size=1")).await, json!([record]));
        let usage = client.json(&format!("{LISTING}/{new}/energy_usage")).await;
        assert_eq!(usage["intervals"][0]["total_energy_delivered_watt_hours"], 5);
        assert!(!client.sandbox.mutate(Mutation::Insert(json!({ "id": "1" }))));
        assert!(!client.sandbox.mutate(Mutation::Insert(json!("no object"))));
    }

    #[tokio::test]
    async fn a_removed_record_is_gone_everywhere() {
        let client = Client::new(EvEnergySandbox::builder().seed(7)).await;
        let id = id(&records(&client.sandbox.truth())[0]).to_owned();
        assert!(client.sandbox.mutate(Mutation::Remove(id.clone())));
        client.problem(404, &format!("{LISTING}/{id}")).await;
        assert!(!client.sandbox.truth().to_string().contains(&id));
        assert!(!client.sandbox.plug_in_truth().to_string().contains(&id));
        assert!(!client.sandbox.mutate(Mutation::Remove(id)));
    }
}

mod faults {
    use super::*;

    #[tokio::test]
    async fn a_status_comes_as_often_as_wanted_and_where_wanted() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.sandbox.inject(Fault::status(503).after(1).times(2).on_path("sub_sessions"));
        client.sandbox.inject(Fault::status(500).on_token());
        let mut seen = Vec::new();
        for path in ["charging_sessions", LISTING, LISTING, LISTING, LISTING] {
            seen.push(client.get(path).await.status().as_u16());
        }
        assert_eq!(seen, [200, 200, 503, 503, 200]);
        assert_eq!(client.sandbox.faults_waiting(), 1);
        assert_eq!(client.token(None, "").await.status(), 500);
        assert_eq!(client.token(None, "").await.status(), 401);
        assert_eq!(client.sandbox.faults_waiting(), 0);
        assert_eq!(client.sandbox.token_requests(), 3);
    }

    #[tokio::test]
    async fn too_many_requests_say_how_long_to_wait() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        for name in ["Retry-After", "RetryAfter"] {
            client.sandbox.inject(Fault::too_many_requests(name, 3));
            let response = client.get(LISTING).await;
            assert_eq!(response.status(), 429);
            assert_eq!(header(&response, name), "3");
        }
    }

    #[tokio::test]
    async fn tokens_can_be_taken_back_in_the_middle_of_a_listing() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.sandbox.inject(Fault::revoke_tokens().after(1));
        assert_eq!(client.get(LISTING).await.status(), 200);
        client.problem(401, LISTING).await;
        let again = Client::of(&client.sandbox).await;
        assert_eq!(again.get(LISTING).await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_can_be_late() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.sandbox.inject(Fault::latency(Duration::from_secs(30)));
        let start = tokio::time::Instant::now();
        assert_eq!(client.get(LISTING).await.status(), 200);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn success_can_be_a_page_for_people_or_nothing_at_all() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.sandbox.inject(Fault::html());
        client.sandbox.inject(Fault::empty());
        client.sandbox.inject(Fault::content_type("text/plain"));
        client.sandbox.inject(Fault::invalid_utf8());
        let html = client.get(LISTING).await;
        assert_eq!(
            (html.status().as_u16(), header(&html, "content-type")),
            (200, "text/html; charset=utf-8")
        );
        let empty = client.get(LISTING).await;
        assert_eq!((empty.status().as_u16(), empty.body().len()), (200, 0));
        let plain = client.get(LISTING).await;
        assert_eq!(header(&plain, "content-type"), "text/plain");
        assert!(body(&plain).is_array());
        let broken = client.get(LISTING).await;
        assert!(std::str::from_utf8(broken.body()).is_err());
        assert!(client.json(LISTING).await.is_array());
    }

    #[tokio::test]
    async fn a_body_can_be_as_large_as_wanted() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        client.sandbox.inject(Fault::oversized(3_000_000));
        let response = client.get(LISTING).await;
        assert_eq!(response.body().len(), 3_000_001);
        assert_eq!(body(&response), json!([]));
    }

    #[tokio::test]
    async fn one_record_can_be_anything() {
        let client = Client::new(EvEnergySandbox::builder()).await;
        let right = client.json(LISTING).await;
        for fault in [
            Fault::set_field(1, "mode", json!("WARP")),
            Fault::set_field(1, "start", Value::Null),
            Fault::set_field(1, "extra", json!({ "a": [1] })),
            Fault::remove_field(1, "start"),
            Fault::replace_record(1, json!("not an object")),
            Fault::replace_record(1, json!({})),
        ] {
            client.sandbox.inject(fault);
            let mut wrong = client.json(LISTING).await;
            assert_ne!(wrong[1], right[1]);
            wrong[1] = right[1].clone();
            assert_eq!(wrong, right, "only one record is touched");
        }
    }

    #[tokio::test]
    async fn a_repeated_or_shifted_page_loses_nothing() {
        for fault in [Fault::repeat_page().after(2), Fault::shift_page(3).after(1)] {
            let client = Client::new(EvEnergySandbox::builder().seed(7).sessions(50)).await;
            client.sandbox.inject(fault);
            let mut read = client.walk(&format!("{LISTING}?page_size=10"), "next").await;
            assert!(read.len() > 50, "{}", read.len());
            read.sort_by(|a, b| id(b).cmp(id(a)));
            read.dedup();
            assert_eq!(Value::from(read), client.sandbox.truth());
            assert_eq!(client.sandbox.faults_waiting(), 0);
        }
    }
}

mod sockets {
    use super::*;

    #[tokio::test]
    async fn a_whole_conversation_over_a_socket() {
        let sandbox = EvEnergySandbox::builder().credentials("me", "s3cret").build().start().await.unwrap();
        let form = "grant_type=client_credentials";
        let answer = talk(
            &sandbox,
            &format!(
                "POST /o/token/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {FORM}\r\n\
                 authorization: Basic bWU6czNjcmV0\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            ),
        )
        .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        let bearer = bearer(&serde_json::from_str(body).unwrap());

        let answer = talk(&sandbox, &ask(&bearer)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nlink: <about:blank>; rel=\"previous\", <https://api.ev.energy/v2/"));
        let records: Value = serde_json::from_str(body).unwrap();
        assert_eq!(records[0], sandbox.truth()[0]);
        assert_eq!(sandbox.base_url(), format!("http://{}/v2/", sandbox.address()));
        assert_eq!(sandbox.token_url(), format!("http://{}/o/token/", sandbox.address()));
        let seen: Vec<String> = sandbox.requests().iter().map(ToString::to_string).collect();
        assert_eq!(seen, ["POST /o/token/ -> 200", "GET /v2/charging_sub_sessions?page_size=2 -> 200"]);
    }

    #[tokio::test]
    async fn a_cut_body_is_shorter_than_it_says() {
        let sandbox = EvEnergySandbox::builder().build().start().await.unwrap();
        let client = Client::of(&sandbox).await;
        sandbox.inject(Fault::cut_body(100));
        let answer = talk(&sandbox, &ask(&client.bearer)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert!(declared.parse::<usize>().unwrap() > 100);
        assert_eq!(body.len(), 100);

        sandbox.inject(Fault::cut_body(100));
        assert!(client.sandbox.call(client.request(LISTING).body(Bytes::new()).unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn dropping_the_handle_stops_the_server() {
        let sandbox = EvEnergySandbox::builder().sessions(1).build().start().await.unwrap();
        let address = sandbox.address();
        drop(TcpStream::connect(address).await.unwrap());
        drop(sandbox);
        for _ in 0..100 {
            if TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still listening");
    }

    #[tokio::test]
    async fn stopping_finishes_what_is_under_way() {
        let sandbox = EvEnergySandbox::builder().latency(Duration::from_millis(300)).build();
        let sandbox = sandbox.start().await.unwrap();
        let client = Client::of(&sandbox).await;
        let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
        stream.write_all(ask(&client.bearer).as_bytes()).await.unwrap();
        while client.sandbox.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sandbox.stop().await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() {
        let sandbox = EvEnergySandbox::builder().sessions(1).build().start().await.unwrap();
        let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 403");
        let before = tokio::time::Instant::now();
        sandbox.stop().await;
        assert!(before.elapsed() < Duration::from_secs(2));
    }

    fn ask(bearer: &str) -> String {
        format!(
            "GET /v2/{LISTING}?page_size=2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {bearer}\r\n\r\n"
        )
    }

    /// Sends a request and reads until the other side closes.
    async fn talk(sandbox: &Running<EvEnergySandbox>, request: &str) -> String {
        let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is reset still gave what came before.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

/// Speaks to a sandbox without a socket.
struct Client {
    sandbox: EvEnergySandbox,
    bearer: String,
}

impl Client {
    async fn new(builder: EvEnergySandboxBuilder) -> Self {
        Self::of(&builder.build()).await
    }

    async fn of(sandbox: &EvEnergySandbox) -> Self {
        let mut client = Self { sandbox: sandbox.clone(), bearer: String::new() };
        let credentials = format!("{}:{}", sandbox.client_id(), sandbox.client_secret());
        let response = client.token(Some(&basic(&credentials)), "grant_type=client_credentials").await;
        client.bearer = bearer(&body(&response));
        client
    }

    async fn token(&self, authorization: Option<&str>, form: &str) -> Response<Bytes> {
        let mut request = Request::post("/o/token/").header("content-type", FORM);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        self.sandbox.call(request.body(Bytes::from(form.to_owned())).unwrap()).await.unwrap()
    }

    fn request(&self, path: &str) -> http::request::Builder {
        get(path).header("authorization", &self.bearer)
    }

    async fn send(&self, request: http::request::Builder) -> Response<Bytes> {
        self.sandbox.call(request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(self.request(path)).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}: {response:?}");
        assert_eq!(header(&response, "content-type"), "application/json");
        body(&response)
    }

    async fn problem(&self, status: u16, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), status, "{path}: {response:?}");
        assert_eq!(header(&response, "content-type"), "application/problem+json");
        assert_eq!(body(&response)["status"], status);
        body(&response)
    }

    /// All records from `path` on, following links of one direction; of each link only the query is used.
    async fn walk(&self, path: &str, direction: &str) -> Vec<Value> {
        let mut read = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let response = self.get(&path).await;
            assert_eq!(response.status(), 200, "{path}: {response:?}");
            read.extend(records(&body(&response)));
            next = link(&response, direction).map(|url| url.split("/v2/").nth(1).unwrap().to_owned());
        }
        read
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("/v2/{path}"))
}

fn basic(credentials: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(credentials))
}

fn bearer(body: &Value) -> String {
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// The target of a link, unless it leads nowhere.
fn link(response: &Response<Bytes>, direction: &str) -> Option<String> {
    let links = header(response, "link").split(", ");
    let (url, _) = links.filter_map(|link| link.split_once("; ")).find(|(_, rel)| rel.contains(direction))?;
    Some(url.trim_matches(['<', '>']).to_owned()).filter(|url| url != "about:blank")
}

fn records(list: &Value) -> Vec<Value> {
    list.as_array().unwrap().clone()
}

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
