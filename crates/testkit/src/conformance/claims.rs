//! What a source declares, held against what it gives.

use std::collections::BTreeSet;

use charging_sessions_core::{AssetSourceExt as _, SessionQuery, SessionStatus};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{
    Outcome,
    trial::{Account, asset, records, require, same},
};

/// Fails unless what is declared is what is seen.
fn honest(declared: bool, seen: bool) -> Outcome {
    require(declared == seen, || format!("declared: {declared}, seen: {seen}"))
}

pub(super) async fn reports_active_sessions_as_declared(account: &Account) -> Outcome {
    let on = account.open();
    let declared = on.source.capabilities().active_sessions;
    let active = on.everything().await?.iter().any(|s| s.state.status == SessionStatus::Active);
    honest(declared, active)
}

pub(super) async fn gives_intervals_as_declared(account: &Account) -> Outcome {
    let on = account.open();
    let declared = on.source.capabilities().intervals;
    require(declared == on.intervals.is_some(), || {
        format!("declared: {declared}, an interval source was given: {}", on.intervals.is_some())
    })?;
    let Some(source) = &on.intervals else { return Ok(()) };
    let mut read = 0;
    for session in on.everything().await?.iter().take(10) {
        let answer = source.fetch_intervals(session.key()).await;
        let answer = answer.map_err(|error| format!("intervals of {}: {error}", session.key()))?;
        read += answer.intervals.len();
        let starts: Vec<_> = answer.intervals.iter().map(|interval| interval.start).collect();
        require(starts.is_sorted(), || format!("the intervals of {} are out of order", session.key()))?;
    }
    require(read > 0, || "ten sessions have no interval between them".into())
}

pub(super) async fn reports_cost_as_declared(account: &Account) -> Outcome {
    let on = account.open();
    let seen = on.everything().await?.iter().any(|session| session.costs.cost.is_some());
    honest(on.source.capabilities().cost, seen)
}

pub(super) async fn reports_totals_as_declared(account: &Account) -> Outcome {
    let on = account.open();
    let pages = on.read(SessionQuery::all()).await?;
    honest(on.source.capabilities().total, pages.iter().any(|page| page.total.is_some()))?;
    let wrong = pages.iter().filter_map(|page| page.total).find(|n| *n != account.records.len() as u64);
    require(wrong.is_none(), || {
        format!("{} records, and a page says {}", account.records.len(), wrong.unwrap_or_default())
    })
}

pub(super) async fn lists_assets_as_declared(account: &Account) -> Outcome {
    let on = account.open();
    let capabilities = on.source.capabilities();
    require(capabilities.asset_list == on.assets.is_some(), || {
        format!("declared: {}, an asset source was given: {}", capabilities.asset_list, on.assets.is_some())
    })?;
    let Some(source) = &on.assets else { return Ok(()) };
    // More assets than records are plausible, ever more are not.
    let most = account.records.len() * 100 + 1000;
    let assets: Vec<_> = source
        .assets()
        .take(most)
        .try_collect()
        .await
        .map_err(|error| format!("the list of assets failed ({}): {error}", error.kind()))?;
    require(assets.len() < most, || format!("the list of assets does not end within {most}"))?;
    let listed: BTreeSet<_> = assets.into_iter().map(|asset| asset.reference).collect();
    let kinds = capabilities.assets;
    let named = on.everything().await?;
    let named = named.iter().flat_map(|session| kinds.iter().filter_map(|kind| asset(session, *kind)));
    if let Some(missing) = named.into_iter().find(|asset| !listed.contains(asset)) {
        return Err(format!("a session names {missing}, which is not listed"));
    }
    let mut read = BTreeSet::new();
    for asset in listed.into_iter().filter(|asset| kinds.contains(&asset.kind)) {
        read.extend(on.read(SessionQuery::all().with_asset(asset)).await?.iter().flat_map(records));
    }
    same("the sessions of all assets", &read, &account.records)
}
