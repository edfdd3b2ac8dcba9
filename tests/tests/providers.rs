//! `docs/providers.md`: what each adapter can do, what is odd about its provider, and what becomes of every property.
//!
//! All of it is found out from the code: the capabilities are the adapters' constants, the quirks stand in their
//! documentation, and what becomes of a property is seen by changing it.

mod coverage;

use std::{collections::BTreeMap, fmt::Write as _, fs, sync::Arc};

use charging_sessions::{
    AssetKind, AssetSource, Capabilities, ChargingSessionSource, SessionQuery, der_connect, ev_energy, evcc,
    ocpi, podero,
};
use charging_sessions_http::{Policy, Response};
use charging_sessions_testkit::{
    conformance::CHECKS,
    fixture::{self, FixtureTransport},
};
use coverage::Schemas;
use serde_json::{Value, json};
use workspace_tests::adapters::ADAPTERS;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/providers.md");

#[test]
fn the_page_of_providers_is_current() {
    let mut page = String::from(
        "# Providers\n\nThis page is made by a test from the adapters themselves: \
         `UPDATE_DOCS=1 cargo test -p workspace-tests --test providers`.\n",
    );
    capabilities(&mut page);
    contract(&mut page);
    for adapter in ADAPTERS {
        let provider = adapter.provider.as_str();
        writeln!(page, "\n## {provider}\n\n### Quirks\n\n{}", quirks(provider)).unwrap();
        for (title, table) in fields(provider) {
            writeln!(
                page,
                "\n### {title}\n\n| property | what becomes of it |\n|---|---|\n{}",
                table.trim_end()
            )
            .unwrap();
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    assert!(
        fs::read_to_string(PAGE).unwrap_or_default() == page,
        "docs/providers.md is stale. Run `UPDATE_DOCS=1 cargo test -p workspace-tests --test providers` and commit \
         the result."
    );
}

type Claim = (&'static str, fn(&Capabilities) -> String);

const CLAIMS: &[Claim] = &[
    ("sessions that started in a window", |c| mark(c.window)),
    ("sessions changed since an instant", |c| mark(c.updated_since)),
    ("sessions of single assets", |c| {
        let name = |kind: &AssetKind| match kind {
            AssetKind::Vehicle => "vehicles",
            AssetKind::ChargePoint => "charge points",
        };
        c.assets.iter().map(name).collect::<Vec<_>>().join(", ")
    }),
    ("a list of the assets", |c| mark(c.asset_list)),
    ("finished or unfinished only", |c| mark(c.finished)),
    ("sessions that go on", |c| mark(c.active_sessions)),
    ("cost", |c| mark(c.cost)),
    ("intervals of energy", |c| mark(c.intervals)),
    ("how many records there are", |c| mark(c.total)),
    ("records in a page, at most", |c| c.max_page_size.map(|n| n.to_string()).unwrap_or_default()),
    ("how long a record may change", |c| {
        c.look_back.map(|length| format!("{} days", length.as_hours() / 24)).unwrap_or_default()
    }),
];

fn mark(can: bool) -> String {
    if can { "yes" } else { "" }.to_owned()
}

fn capabilities(page: &mut String) {
    page.push_str("\n## What each can be asked for\n\n|");
    for adapter in ADAPTERS {
        write!(page, " | [{0}](#{0})", adapter.provider).unwrap();
    }
    writeln!(page, " |\n|---{}|", "|---".repeat(ADAPTERS.len())).unwrap();
    for (name, claim) in CLAIMS {
        let cells: Vec<_> = ADAPTERS.iter().map(|adapter| claim(&adapter.capabilities)).collect();
        writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
}

/// What the suite asks of every adapter, and who runs it.
fn contract(page: &mut String) {
    page.push_str(
        "\n## What each is held to\n\nEvery adapter runs the same suite against a sandbox, in its \
         `tests/conformance.rs`. What a source does not declare is only asked of it to be refused. That each check can \
         fail is proven by sources that break just that promise, in `crates/testkit/tests/conformance.rs`.\n\n|",
    );
    for adapter in ADAPTERS {
        write!(page, " | {}", adapter.provider).unwrap();
    }
    writeln!(page, " |\n|---{}|", "|---".repeat(ADAPTERS.len())).unwrap();
    let runs = |provider: &str| {
        let tests = format!("{}/../crates/providers/{provider}/tests", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(format!("{tests}/conformance.rs")).is_ok_and(|text| text.contains("conformance(&"))
    };
    let cells: String =
        ADAPTERS.iter().map(|adapter| format!("| {} ", mark(runs(adapter.provider.as_str())))).collect();
    for check in CHECKS {
        writeln!(page, "| {} {cells}|", check.name).unwrap();
    }
}

/// The table below the heading `Quirks` in the documentation of an adapter.
fn quirks(provider: &str) -> String {
    let path = format!("{}/../crates/providers/{provider}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let documentation: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let after = documentation.iter().position(|line| line.trim() == "# Quirks");
    let after = after.unwrap_or_else(|| panic!("{provider} has no table of quirks"));
    let lines = documentation[after + 1..].iter().map(|line| line.trim());
    let table: Vec<_> =
        lines.skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|')).collect();
    assert!(table.len() > 2, "{provider} has no table of quirks");
    // Links into the documentation of the code lead nowhere here.
    table.join("\n").replace("[`", "`").replace("`]", "`")
}

fn fields(provider: &str) -> Vec<(&'static str, String)> {
    match provider {
        "der-connect" => der_connect_fields(),
        "ev-energy" => ev_energy_fields(),
        "evcc" => evcc_fields(),
        "ocpi" => ocpi_fields(),
        "podero" => podero_fields(),
        // A new adapter has its table here, too.
        _ => Vec::new(),
    }
}

const AT: &str = "2026-06-03T00:00:00Z";

fn sessions(page: &charging_sessions::SessionPage) -> Value {
    let sessions: Vec<_> = page.sessions.iter().map(|session| json!(session)).collect();
    let rejected: Vec<_> = page.rejected.iter().map(|record| json!(record.reason)).collect();
    match <[Value; 1]>::try_from(sessions) {
        Ok([session]) if rejected.is_empty() => session,
        Ok(session) => json!({"session": session, "rejected": rejected}),
        Err(sessions) => json!({"sessions": sessions, "rejected": rejected}),
    }
}

fn answer(status: &str, body: &Value) -> Response {
    fixture::parse(&format!("HTTP/1.1 {status}\ncontent-type: application/json\n\n{body}\n")).unwrap()
}

fn token() -> Response {
    answer("200 OK", &json!({"access_token": "t0ken", "expires_in": 3600}))
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn first_asset(source: &dyn AssetSource) -> Value {
    match block(source.fetch_assets(None)) {
        Ok(page) => page.assets.first().map(|asset| json!(asset)).unwrap_or_default(),
        Err(error) => json!({"refused": error.kind().as_str()}),
    }
}

/// What an error says of the body that came with it.
fn problem(source: &dyn ChargingSessionSource) -> Value {
    let error = block(source.fetch_page(&SessionQuery::all(), None)).unwrap_err();
    json!({"problem": error.problem()})
}

const URL: &str = "The address of the thing; its identifier stands beside it.";

fn der_connect_fields() -> Vec<(&'static str, String)> {
    let schemas = Schemas::of("der-connect");
    let source = |transport: FixtureTransport| {
        let config = der_connect::Config::new("id", "secret".into());
        let transport = Arc::new(transport.on("/access_token", token()));
        der_connect::DerConnect::with_transport(config, transport).unwrap()
    };
    let record = |record: &Value| {
        let mut mapping = der_connect::Mapping::default();
        mapping.entity_kind = Some(AssetKind::Vehicle);
        let body = json!({"data": [record]}).to_string();
        sessions(&mapping.page(&body.into(), AT.parse().unwrap()).unwrap())
    };
    let entity = |entity: &Value| {
        let body = json!({"data": [entity]});
        first_asset(&source(FixtureTransport::new().on("/v1/entities", answer("200 OK", &body))))
    };
    let link = [("next", "The token of the next page stands in `meta`, and is what the adapter uses.")];
    let envelope = |envelope: &Value| {
        let source = source(FixtureTransport::new().on("/v1/entities", answer("200 OK", envelope)));
        let page = block(source.fetch_assets(None));
        json!({"read": page.is_ok(), "next": page.ok().and_then(|page| page.next).is_some()})
    };
    let details = [
        ("parentId", "How entities belong together; feeds no core field."),
        ("lastSeen", "About the entity of now, not the session."),
        ("properties", "Of any shape; feeds no core field."),
    ];
    vec![
        ("A charge session", schemas.table("ChargeSession", &[], record)),
        ("An entity, in the list of assets", schemas.table("EntityDetails", &details, entity)),
        (
            "Links of a page",
            schemas.table("Links", &link, |links| {
                envelope(&json!({"data": [], "links": links, "meta": {"continuationToken": "more"}}))
            }),
        ),
        ("Meta of a page", schemas.table("Meta", &[], |meta| envelope(&json!({"data": [], "meta": meta})))),
    ]
}

fn ev_energy_fields() -> Vec<(&'static str, String)> {
    let schemas =
        Schemas::of("ev-energy").with_whole("WebhookEvent.data", "Becomes what it becomes in a listing.");
    let mapping = ev_energy::Mapping::default();
    let record = |record: &Value| {
        let body = json!([record]).to_string();
        sessions(&mapping.sub_sessions(&body.into(), AT.parse().unwrap()).unwrap())
    };
    let stay = |record: &Value| {
        let mut record = record.clone();
        // What a sub-session becomes is said above.
        if record["sub_sessions"].is_array() {
            record["sub_sessions"] = json!([]);
        }
        let body = json!([record]).to_string();
        sessions(&mapping.plug_ins(&body.into(), AT.parse().unwrap()).unwrap())
    };
    let usage = |usage: &Value| {
        let usage = mapping.energy_usage(&usage.to_string().into(), false).unwrap();
        json!({"intervals": usage.intervals, "updated_at": usage.updated_at, "issues": usage.issues})
    };
    let event = |event: &Value| {
        let mut event = event.clone();
        event["data"] = json!({"id": "csub1"});
        let session = mapping.event(&event.to_string().into(), AT.parse().unwrap());
        json!({"is_read": session.is_ok()})
    };
    let refused = |body: &Value| {
        let mut config = ev_energy::Config::new("id", "secret".into());
        config.policy = Policy::default();
        let transport = FixtureTransport::new().on("/o/token/", token());
        let transport = transport.on("charging_sub_sessions", answer("400 Bad Request", body));
        problem(&ev_energy::EvEnergy::with_transport(config, Arc::new(transport)).unwrap())
    };
    let left_out = [
        ("url", URL),
        ("charging_sub_session", "A link back to the sub-session that holds it."),
        ("Tariff.scheduler_tariff", "Feeds no core field."),
        ("Tariff.supplier", "Feeds no core field; the name of the tariff is enough."),
        ("Tariff.daily_prices", "Prices are taken from the energy usage, where they are what was paid."),
        ("Tariff.timezone_name", "The zone is taken from the location of the sub-session."),
        ("highlighted", "For display in an app."),
        ("price_chart_url", "For display in an app."),
        ("gsp_group", "Detail of the tariff that feeds no core field."),
        ("valid_from", "Detail of the tariff that feeds no core field."),
        ("valid_until", "Detail of the tariff that feeds no core field."),
        ("CarbonFeed.name", "The identifier of the feed is kept."),
        ("VehicleTrim.id", "Of the catalogue only the names are mapped."),
        ("VehicleModel.id", "Of the catalogue only the names are mapped."),
        ("VehicleMake.id", "Of the catalogue only the names are mapped."),
        ("EVSEModel.id", "Of the catalogue only the names are mapped."),
        ("EVSEMake.id", "Of the catalogue only the names are mapped."),
    ];
    let mut of_stay = left_out.to_vec();
    of_stay.push((
        "ChargingSession.sub_sessions",
        "Each becomes a record of its own, with this one as its parent.",
    ));
    let of_event = [(
        "WebhookEvent.timestamp",
        "When it happened; the sub-session itself says when it began and ended.",
    )];
    let of_problem = [
        ("status", "The status of the answer counts."),
        ("id", "Of this one message; `message_id` says which message it is."),
        ("Notification.url", "The address of the message; for who shows messages to users."),
        ("event_time", "The time of the answer is known."),
        ("detail_page_title", "A page of help; the short texts are kept."),
        ("detail_page_body", "A page of help; the short texts are kept."),
        ("external_button_label", "The link is kept; what its button says is for apps."),
        ("read_at", "About the user of an app."),
        ("resolved_at", "About the user of an app."),
    ];
    vec![
        ("A sub-session", schemas.table("ChargingSubSession", &left_out, record)),
        ("A plug-in session", schemas.table("ChargingSession", &of_stay, stay)),
        ("Energy usage, asked for by itself", schemas.table("EnergyUsage", &left_out, usage)),
        ("A webhook", schemas.table("WebhookEvent", &of_event, event)),
        ("An error", schemas.table("ProblemDetail", &of_problem, refused)),
    ]
}

fn evcc_fields() -> Vec<(&'static str, String)> {
    let schemas = Schemas::of("evcc");
    let record = |record: &Value| {
        let mut mapping = evcc::Mapping::default();
        mapping.currency = Some("EUR".into());
        sessions(&mapping.page(&json!([record]).to_string().into(), AT.parse().unwrap()).unwrap())
    };
    let read = |transport: FixtureTransport| {
        let config = evcc::Config::new("https://evcc.example".parse().unwrap());
        let source = evcc::Evcc::with_transport(config, Arc::new(transport)).unwrap();
        block(source.fetch_page(&SessionQuery::all(), None))
    };
    let state = |state: &Value| {
        let priced = json!([{"id": 1, "price": 1}]);
        let transport = FixtureTransport::new().on("/api/state", answer("200 OK", state));
        let page = read(transport.on("/api/sessions", answer("200 OK", &priced))).unwrap();
        json!({"session.costs": page.sessions[0].costs})
    };
    let refused = |body: &Value| {
        let error = read(FixtureTransport::new().on("/api/state", answer("500 Internal Server Error", body)));
        json!({"problem": error.unwrap_err().problem()})
    };
    vec![
        ("A session", schemas.table("Session", &[], record)),
        ("The state of the site", schemas.table("State", &[], state)),
        ("An error", schemas.table("Error", &[], refused)),
    ]
}

fn ocpi_fields() -> Vec<(&'static str, String)> {
    use ocpi::{Mapping, Module, Version};
    let schemas = Schemas::of("ocpi");
    let left_out = [
        ("Tariff.id", "The first tariff is the one that is named."),
        ("incl_vat", "The tax of a part of the cost; that of the whole is mapped."),
        ("TaxAmount.name", "The tax of a part of the cost; that of the whole is mapped."),
        ("TaxAmount.account_number", "The tax of a part of the cost; that of the whole is mapped."),
        ("TaxAmount.percentage", "The tax of a part of the cost; that of the whole is mapped."),
        ("TaxAmount.amount", "The tax of a part of the cost; that of the whole is mapped."),
    ];
    let table = |schema: &str, module: Module, version: Version| {
        schemas.table(schema, &left_out, |record| {
            let mut record = record.clone();
            // A record that takes another back is another matter: most of it only repeats the other.
            if let Some(credit) = record["credit"].as_bool() {
                record["credit"] = json!(!credit);
            }
            let body = json!({"status_code": 1000, "data": [record]}).to_string();
            sessions(&Mapping::new(module, version).page(&body.into(), AT.parse().unwrap()).unwrap())
        })
    };
    vec![
        ("A session of 2.1.1", table("Session211", Module::Sessions, Version::V2_1_1)),
        ("A session of 2.2.1", table("Session221", Module::Sessions, Version::V2_2_1)),
        ("A session of 2.3.0", table("Session230", Module::Sessions, Version::V2_3_0)),
        ("What was billed, in 2.1.1", table("Cdr211", Module::Cdrs, Version::V2_1_1)),
        ("What was billed, in 2.2.1", table("Cdr221", Module::Cdrs, Version::V2_2_1)),
        ("What was billed, in 2.3.0", table("Cdr230", Module::Cdrs, Version::V2_3_0)),
    ]
}

fn podero_fields() -> Vec<(&'static str, String)> {
    let schemas = Schemas::of("podero");
    let source = |transport: FixtureTransport| {
        let config = podero::Config::new("id", "secret".into(), "o1");
        podero::Podero::with_transport(config, Arc::new(transport.on("/oauth2/token/", token()))).unwrap()
    };
    let record = |record: &Value| {
        let body = json!({"total": 1, "items": [record]}).to_string();
        sessions(&podero::Mapping::default().page(&body.into(), AT.parse().unwrap()).unwrap())
    };
    let listed = |user: &Value, vehicle: &Value| {
        let transport = FixtureTransport::new()
            .on("/electric-vehicles", answer("200 OK", &json!([vehicle])))
            .on("/org/o1/users", answer("200 OK", &json!([user])));
        first_asset(&source(transport))
    };
    let user = |user: &Value| {
        let mut user = user.clone();
        // One vehicle at least, or it is not asked for any.
        if user["num_electric_vehicles"] != json!(null) && user["num_electric_vehicles"] != json!(61) {
            user["num_electric_vehicles"] = json!(1);
        } else {
            user["num_electric_vehicles"] = json!(0);
        }
        listed(&user, &json!({"id": "v1"}))
    };
    let account = "About the user's account; feeds no core field.";
    let personal = "Personal data that the mapping does not need.";
    let details: BTreeMap<&str, &str> = [
        ("first_name", personal),
        ("last_name", personal),
        ("street_and_number", personal),
        ("street_add_info", personal),
        ("zip_code", personal),
        ("town", personal),
        ("country", personal),
        ("country_iso2", personal),
        ("latitude", personal),
        ("longitude", personal),
        ("last_login", account),
        ("joined_at", account),
        ("is_onboarded", account),
        ("num_inverters", account),
        ("num_heat_pumps", account),
        ("num_wallboxes", account),
        ("email", personal),
        ("role", account),
        ("organization_id", "The organisation is the one that was asked for."),
        ("external_user_id", "The provider's identifier is the one that sessions are listed under."),
    ]
    .into();
    let details: Vec<_> = details.into_iter().collect();
    let envelope =
        |page: &Value| match podero::Mapping::default().page(&page.to_string().into(), AT.parse().unwrap()) {
            Ok(page) => json!({"total": page.total, "sessions": page.sessions.len()}),
            Err(error) => json!({"refused": error.kind().as_str()}),
        };
    vec![
        ("A session", schemas.table("SessionItem", &[], record)),
        (
            "A vehicle, in the list of assets",
            schemas.table("ElectricVehicle", &[], |vehicle| listed(&json!({"id": "u1"}), vehicle)),
        ),
        ("A user", schemas.table("UserDetails", &details, user)),
        (
            "A page",
            schemas.table(
                "SessionPage",
                &[("items", "Becomes what it becomes in the table above.")],
                envelope,
            ),
        ),
    ]
}
