//! The adapter for OCPI against a server that somebody else wrote: `extrawest-ocpi`, with the few records in
//! `tests/foreign/ocpi_server`.
//!
//! `cargo xtask ci` starts it, and names its address in `FOREIGN_OCPI`.

use std::{collections::BTreeSet, env, num::NonZeroU32};

use charging_sessions::{
    ChargingSession, ChargingSessionSource as _, ChargingSessionSourceExt as _, ErrorKind, SessionQuery,
    SessionStatus,
    ocpi::{Config, Module, Ocpi, TokenForm, Version},
};
use futures_util::TryStreamExt as _;

const COUNT: usize = 23;

fn config(token: &str) -> Config {
    let address = env::var("FOREIGN_OCPI").expect("FOREIGN_OCPI names no server; run `cargo xtask ci`");
    let mut config = Config::new(format!("{address}/ocpi/versions").parse().unwrap(), token.into());
    // A failure of this server does not pass.
    config.policy = config.policy.with_max_attempts(3).with_backoff(std::time::Duration::from_millis(1));
    config
}

fn source(config: Config, module: Module) -> Ocpi {
    let party = Ocpi::new(config).unwrap();
    if module == Module::Cdrs { party.cdrs() } else { party }
}

async fn read(source: &Ocpi, page: u32) -> Vec<ChargingSession> {
    let query = SessionQuery::all().with_page_size(NonZeroU32::new(page).unwrap());
    source.sessions(query).try_collect().await.unwrap()
}

/// Its links hold `None` and names of its own code, its addresses another scheme, and its list of versions takes the
/// token in Base64 while 2.1.1 wants it as it is.
#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn everything_is_read_in_both_versions() {
    for version in [Version::V2_1_1, Version::V2_2_1] {
        for (module, name) in [(Module::Sessions, "session"), (Module::Cdrs, "cdr")] {
            for page in [1, 4, 100] {
                let mut config = config("Foreign-Token-1");
                config.version = Some(version);
                let read = read(&source(config, module), page).await;
                let ids: BTreeSet<_> = read.iter().map(|session| session.key().source_id.clone()).collect();
                // In 2.2.1 the server writes identifiers in small letters; the key is that in any case.
                let owner = if version == Version::V2_1_1 { "" } else { "be*bec*" };
                let expected: BTreeSet<_> = (0..COUNT).map(|turn| format!("{owner}{name}-{turn}")).collect();
                assert_eq!((ids, read.len()), (expected, COUNT), "{version} {module:?} in pages of {page}");
                for record in &read {
                    let is_open = record.state.status == SessionStatus::Active;
                    let period = &record.timing.period;
                    assert!(period.start.is_some() && period.end.is_some() != is_open, "{}", record.key());
                    assert_eq!(record.energy.headline().unwrap().to_string(), "10 kWh");
                    assert_eq!(record.costs.cost.as_ref().unwrap().money.to_string(), "4.2 EUR");
                    assert_eq!(record.details.intervals.as_ref().unwrap().len(), 2);
                    assert_eq!(record.issues, [], "{}", record.key());
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn the_latest_common_version_is_found_and_parents_are_the_sessions() {
    let party = Ocpi::new(config("Foreign-Token-1")).unwrap();
    let sessions = read(&party, 100).await;
    assert_eq!(sessions[0].provenance.endpoint.api_version.as_deref(), Some("2.2.1"));
    let sessions: BTreeSet<_> = sessions.into_iter().map(|session| session.identity.key).collect();
    let cdrs = read(&party.cdrs(), 100).await;
    assert!(cdrs.iter().all(|cdr| sessions.contains(cdr.identity.parent.as_ref().unwrap())));
    // The one field that its own model does not have.
    assert!(cdrs.iter().all(|cdr| cdr.parties.charge_point.as_ref().unwrap().source_id.is_none()));
}

/// What this server answers in place of an error looks like an empty list.
#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn no_failure_is_taken_for_an_empty_list() {
    let error = async |config: Config, version| {
        let mut config = config;
        config.version = Some(version);
        source(config, Module::Cdrs).sessions(SessionQuery::all()).try_collect::<Vec<_>>().await.unwrap_err()
    };
    for (token, form, kind) in [
        ("Foreign-Token-2", TokenForm::Base64, ErrorKind::Unavailable),
        ("Foreign-Token-1", TokenForm::Raw, ErrorKind::Unavailable),
        ("Unknown-Token-1", TokenForm::Auto, ErrorKind::Unauthenticated),
        ("Unknown-Token-1", TokenForm::Base64, ErrorKind::Unauthenticated),
    ] {
        let mut config = config(token);
        config.token_form = form;
        let error = error(config, Version::V2_2_1).await;
        assert_eq!(error.kind(), kind, "{token} {form:?}: {error}");
        assert!(!format!("{error} {error:?}").contains(token), "{error}");
    }
    let mut config = config("Foreign-Token-2");
    config.version = Some(Version::V2_2_1);
    let source = source(config, Module::Cdrs);
    // One record that does not fit its model costs the page that it is on. What stands before it still comes.
    let query = SessionQuery::all().with_page_size(NonZeroU32::new(3).unwrap());
    let first = source.fetch_page(&query, None).await.unwrap();
    assert_eq!(first.sessions.len(), 3);
}

/// Without a slash at its end, an address leads to one that has it.
#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn a_configured_address_without_its_slash_is_good_enough() {
    let mut config = config("Foreign-Token-1");
    let versions = config.versions_url.take().unwrap();
    config.version = Some(Version::V2_2_1);
    config.sessions_url = Some(versions.join("cpo/2.2.1/sessions").unwrap());
    assert_eq!(read(&source(config, Module::Sessions), 7).await.len(), COUNT);
}
