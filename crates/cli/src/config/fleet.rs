//! What the configuration says for workers. Read and checked by every build, so that one file serves all.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use charging_sessions::AccountId;
use charging_sessions_http::Quota;
use jiff::SignedDuration;
use toml::{Spanned, de::DeValue};

use super::{
    Account,
    options::{QUOTA, quota, span},
    table::{File, Table, listed},
};
use crate::{exit::Failure, provider::Provider};

/// The keys of an account that are for workers alone.
pub(super) const KEYS: [&str; 2] = ["every", "credential"];

/// What `[worker]` says.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
pub(crate) struct Worker {
    /// How often an account is read that says nothing else.
    pub(crate) every: Option<SignedDuration>,
    /// After how many pages a job leaves the rest to another.
    pub(crate) pages: Option<NonZeroU32>,
    /// After how long it does.
    pub(crate) time: Option<Duration>,
    /// How many jobs a worker does at the same time.
    pub(crate) concurrency: Option<NonZeroU32>,
}

/// What `[limits.NAME]` says: how many requests several accounts may make together.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
pub(crate) struct Limit {
    pub(crate) quota: Quota,
    /// These accounts.
    pub(crate) accounts: Vec<AccountId>,
    /// All accounts of this provider.
    pub(crate) provider: Option<Provider>,
    /// Where it is configured, for messages.
    place: String,
}

impl Limit {
    /// Fails unless all accounts that it names are there.
    pub(super) fn check(&self, name: &str, accounts: &BTreeMap<AccountId, Account>) -> Result<(), Failure> {
        let Some(missing) = self.accounts.iter().find(|account| !accounts.contains_key(*account)) else {
            return Ok(());
        };
        let known: Vec<_> = accounts.keys().map(AccountId::as_str).collect();
        let cure = format!("the configuration has {}", listed(&known));
        Err(Failure::at(
            &self.place,
            format!("limits.{name} names the account `{missing}`, which is not there: {cure}"),
        ))
    }

    /// Whether an account's requests count for it.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) fn holds(&self, account: &Account) -> bool {
        self.provider == Some(account.provider) || self.accounts.contains(&account.name)
    }
}

pub(super) fn read_worker(table: &Table<'_>) -> Result<Worker, Failure> {
    table.only(&["every", "pages", "time", "concurrency"])?;
    let number = |key: &str| -> Result<Option<NonZeroU32>, Failure> {
        let number = |value: &DeValue<'_>| match value {
            DeValue::Integer(it) => it.to_string().parse().ok(),
            _ => None,
        };
        let wrong = || table.wrong(key, format!("`{key}` must be a whole number above zero"));
        table.get(key).map(|value| number(value.get_ref()).ok_or_else(wrong)).transpose()
    };
    let time = read_span(table, "time")?;
    Ok(Worker {
        every: read_span(table, "every")?,
        pages: number("pages")?,
        time: time.and_then(|time| time.try_into().ok()),
        concurrency: number("concurrency")?,
    })
}

/// A length of time of at least a second.
pub(super) fn read_span(table: &Table<'_>, key: &str) -> Result<Option<SignedDuration>, Failure> {
    let Some(text) = table.text(key)? else { return Ok(None) };
    let wrong =
        || table.wrong(key, format!("`{key}` must be a length of time such as 15m, of a second at least"));
    let span = span(&text).ok().filter(|span| *span >= SignedDuration::from_secs(1));
    span.map(Some).ok_or_else(wrong)
}

pub(super) fn read_limits(file: &File, limits: &Table<'_>) -> Result<BTreeMap<String, Limit>, Failure> {
    let read = |name: &str, value: &Spanned<DeValue<'_>>| {
        let table = Table::of(file, value, &format!("limits.{name}"))?;
        table.only(&["quota", "accounts", "provider"])?;
        let text = table.text("quota")?;
        let text = text
            .ok_or_else(|| table.wrong("quota", format!("`quota` is missing in limits.{name}: {QUOTA}")))?;
        let quota = quota(&text).map_err(|_| table.wrong("quota", format!("`quota` must be {QUOTA}")))?;
        let account = |name: String| name.parse().map_err(|error| table.wrong("accounts", error));
        let accounts = table.texts("accounts")?.into_iter().map(account).collect::<Result<Vec<_>, _>>()?;
        let provider = |name: String| {
            Provider::named(&name).ok_or_else(|| {
                table.wrong("provider", format!("unknown provider: known are {}", listed(&Provider::NAMES)))
            })
        };
        let provider = table.text("provider")?.map(provider).transpose()?;
        if accounts.is_empty() && provider.is_none() {
            let cure = "name `accounts`, or a `provider`";
            return Err(table.wrong("accounts", format!("limits.{name} is for no account: {cure}")));
        }
        Ok(Limit { quota, accounts, provider, place: file.place(value.span()) })
    };
    limits
        .entries()
        .map(|(name, value)| Ok((name.get_ref().to_string(), read(name.get_ref(), value)?)))
        .collect()
}
