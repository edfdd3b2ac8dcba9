//! What is in the store: `charging-sessions sessions`, and what the commands on it share.

use std::sync::Arc;

use charging_sessions::{
    AccountId, AssetRef, ChargingSession, ProviderId, RecordKind, SessionStatus, TimeWindow,
};
use charging_sessions_report::Period;
use charging_sessions_store::{Filter, Rows, SessionStore, StoredSession};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    args::{OutputArgs, SharedArgs, SpanArgs},
    config::Config,
    exit::{Code, Failure},
    output,
    read::Listing,
};

/// Which sessions, and how to print them.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The store of the configuration, to write to. Made if it is not there.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn SessionStore>, Failure> {
    config.store.open(&config.zone).await
}

/// The store of the configuration, to read from.
pub(crate) async fn read(config: &Config) -> Result<Arc<dyn SessionStore>, Failure> {
    config.store.read(&config.zone).await
}

/// Which sessions of the store.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// Sessions that started in this month, such as 2026-10, or year.
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["since", "last"])]
    pub(crate) month: Option<String>,
    /// Of this provider.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<ProviderId>,
    /// Of this account.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountId>,
    /// Of this vehicle, by the provider's identifier.
    #[arg(long, value_name = "ID", conflicts_with = "charge_point")]
    pub(crate) vehicle: Option<String>,
    /// Of this charge point, by the provider's identifier.
    #[arg(long, value_name = "ID")]
    pub(crate) charge_point: Option<String>,
    /// Of this level: `plug_in`, `segment`, `charge` or `billing_record`.
    #[arg(long, value_name = "KIND", value_parser = word::<RecordKind>)]
    pub(crate) kind: Option<RecordKind>,
    /// Of this status, such as `completed` or `active`.
    #[arg(long, value_name = "STATUS", value_parser = word::<SessionStatus>)]
    pub(crate) status: Option<SessionStatus>,
    /// Those that the provider no longer lists, and no others.
    #[arg(long)]
    pub(crate) vanished: bool,
    /// Those with an issue of this code or its beginning, such as `energy`; of any, without a code.
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) issues: Option<String>,
}

/// One of our words, as records have it. Other words would be read as an open set's `other`.
fn word<T: serde::de::DeserializeOwned + std::fmt::Display>(text: &str) -> Result<T, String> {
    let read: Option<T> = serde_json::from_value(text.into()).ok();
    read.filter(|read| read.to_string() == text)
        .ok_or_else(|| "not a word that records have there".to_owned())
}

impl FilterArgs {
    pub(crate) fn filter(&self, zone: &TimeZone, now: Timestamp) -> Result<Filter, Failure> {
        let mut filter = Filter::default();
        filter.window = match &self.month {
            Some(month) => Some(months(month, zone)?),
            None => self.span.window(zone, now)?,
        };
        filter.provider = self.provider;
        filter.account.clone_from(&self.account);
        filter.asset = self.vehicle.as_ref().map(AssetRef::vehicle);
        if let Some(id) = &self.charge_point {
            filter.asset = Some(AssetRef::charge_point(id));
        }
        filter.kind = self.kind;
        filter.status = self.status;
        filter.vanished = Some(self.vanished);
        Ok(filter)
    }

    /// What the store cannot be asked for.
    pub(crate) fn wants(&self, session: &ChargingSession) -> bool {
        self.issues.as_ref().is_none_or(|code| {
            session.issues.iter().any(|issue| issue.code.as_str().starts_with(code.as_str()))
        })
    }
}

/// The window of a month or a year in a zone, from its first instant to that of the next one.
fn months(text: &str, zone: &TimeZone) -> Result<TimeWindow, Failure> {
    match Period::parse(text, zone.clone()) {
        Ok(period) => Ok(period.window()),
        Err(error) => Err(Failure::usage(format!("--month is {error}"))),
    }
}

/// Every session that was asked for, in the order of keys.
pub(crate) async fn each(
    store: &dyn SessionStore,
    args: &FilterArgs,
    zone: &TimeZone,
    mut take: impl FnMut(StoredSession) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let filter = args.filter(zone, Timestamp::now())?;
    each_of(store, &filter, |row| if args.wants(&row.session) { take(row) } else { Ok(()) }).await
}

/// Every session that the filter lets through, in the order of keys.
pub(crate) async fn each_of(
    store: &dyn SessionStore,
    filter: &Filter,
    mut take: impl FnMut(StoredSession) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut rows = Rows::new(store, filter.clone());
    while let Some(several) = rows.next().await? {
        several.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}

/// Prints sessions of the store.
pub(crate) async fn run(args: &SessionsArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let mut listing = Listing::default();
    each(&*read(&config).await?, &args.filter, &config.zone, |row| {
        listing.sessions.push(row.session);
        Ok(())
    })
    .await?;
    listing.sessions.sort_by(|a, b| (a.timing.period.start, a.key()).cmp(&(b.timing.period.start, b.key())));
    output::print(&listing, args.output.format, &config.zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match months(text, &TimeZone::get("Europe/Berlin").unwrap()) {
            Ok(window) => window.to_string(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn months_and_years_begin_and_end_in_the_zone() {
        assert_eq!(shown("2026-10"), "[2026-09-30T22:00:00Z, 2026-10-31T23:00:00Z)");
        assert_eq!(shown("2026"), "[2025-12-31T23:00:00Z, 2026-12-31T23:00:00Z)");
    }

    #[test]
    fn a_bad_month_is_explained() {
        for text in ["october", "2026-13", "", "2026-10-01"] {
            assert!(shown(text).starts_with("--month is neither"), "{text}");
        }
    }

    #[test]
    fn words_of_records_are_known_and_others_refused() {
        assert_eq!(word("plug_in"), Ok(RecordKind::PlugIn));
        assert_eq!(word("other"), Ok(RecordKind::Other));
        assert!(word::<RecordKind>("plugin").is_err());
        assert_eq!(word("active"), Ok(SessionStatus::Active));
    }
}
