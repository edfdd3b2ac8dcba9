//! Complete listings, cursors, conditions and keys.

use std::collections::{BTreeMap, BTreeSet};

use charging_sessions_core::{
    AssetRef, ChargingSession, Cursor, ErrorKind, ProviderId, SessionKey, SessionQuery, SessionStatus,
    TimeWindow,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Outcome,
    trial::{Account, Trial, asset, records, require, same, sessions, size},
};

pub(super) async fn goes_through_the_transport(account: &Account) -> Outcome {
    let on = account.open();
    on.read(SessionQuery::all()).await?;
    require(on.line.requests() > 0, || "a listing was read, and no request was seen".into())
}

pub(super) async fn lists_everything(account: &Account) -> Outcome {
    let on = account.open();
    let largest = on.source.capabilities().max_page_size.unwrap_or(100);
    for n in [1, 7.min(largest), largest] {
        let pages = on.read(SessionQuery::all().with_page_size(size(n))).await?;
        let read = pages.iter().flat_map(records).collect();
        same(&format!("the listing in pages of {n}"), &read, &account.records)?;
    }
    Ok(())
}

pub(super) async fn respects_the_page_size(account: &Account) -> Outcome {
    let on = account.open();
    let Some(largest) = on.source.capabilities().max_page_size else { return Ok(()) };
    let wanted = SessionQuery::all().with_page_size(size(u32::MAX));
    for page in on.read(wanted).await? {
        let n = page.sessions.len() + page.rejected.len();
        require(n <= largest as usize, || format!("a page has {n} records, {largest} are declared"))?;
    }
    Ok(())
}

pub(super) async fn resumes_at_every_cursor(account: &Account) -> Outcome {
    let on = account.open();
    resume(&on, &on).await
}

pub(super) async fn resumes_in_another_source(account: &Account) -> Outcome {
    resume(&account.open(), &account.open()).await
}

/// What `on` lists is read on at each of its cursors by `other`.
async fn resume(on: &Trial<'_>, other: &Trial<'_>) -> Outcome {
    let count = on.account.records.len();
    let third = u32::try_from(count.div_ceil(3)).unwrap_or(u32::MAX);
    let query = SessionQuery::all().with_page_size(size(third));
    let pages = on.read(query.clone()).await?;
    require(pages.len() >= 2 || on.source.capabilities().max_page_size.is_none(), || {
        format!("pages of {third} were asked for, and all {count} records came in one")
    })?;
    for (at, page) in pages.iter().enumerate() {
        let Some(next) = &page.next else { continue };
        let stored = serde_json::to_string(next).map_err(|error| error.to_string())?;
        let cursor: Cursor = serde_json::from_str(&stored).map_err(|error| error.to_string())?;
        let rest = other.rest(query.clone(), cursor, &format!("going on after page {at}")).await?;
        let expected = pages[at + 1..].iter().flat_map(records).collect();
        same(&format!("what follows page {at}"), &rest, &expected)?;
    }
    Ok(())
}

pub(super) async fn refuses_a_cursor_that_is_not_its_own(account: &Account) -> Outcome {
    let on = account.open();
    let source = &on.source;
    let all = SessionQuery::all();
    let mut cursors = vec![
        ("a foreign cursor", all.clone(), Cursor::encode(ProviderId::new("someone-else"), 1, &all, &"x")),
        ("an outdated cursor", all.clone(), Cursor::encode(source.provider(), 0, &all, &"x")),
        ("garbage", all.clone(), Cursor::from("garbage")),
        ("an empty cursor", all.clone(), Cursor::from("")),
    ];
    let pages = on.read(all.clone().with_page_size(size(1))).await?;
    if let Some(own) = pages.first().and_then(|page| page.next.clone()) {
        let damaged = own.as_str()[..own.as_str().len() - 1].to_owned();
        cursors.push(("a damaged cursor", all, Cursor::from(damaged.as_str())));
        // Only a query that the source accepts shows that it looks at the cursor.
        if source.capabilities().window {
            let window =
                TimeWindow::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
            cursors.extend(window.map(|w| ("a cursor of another query", SessionQuery::started_in(w), own)));
        }
    }
    if let Some(assets) = &on.assets {
        for (what, _, cursor) in &cursors {
            let before = on.line.requests();
            let kind = assets.fetch_assets(Some(cursor)).await.err().map(|error| error.kind());
            require(kind == Some(ErrorKind::InvalidCursor), || format!("{what} for assets gave {kind:?}"))?;
            require(on.line.requests() == before, || {
                format!("{what} for assets was refused only after a request")
            })?;
        }
    }
    for (what, query, cursor) in cursors {
        let before = on.line.requests();
        let kind = source.fetch_page(&query, Some(&cursor)).await.err().map(|error| error.kind());
        require(kind == Some(ErrorKind::InvalidCursor), || format!("{what} gave {kind:?}"))?;
        require(on.line.requests() == before, || format!("{what} was refused only after a request"))?;
    }
    Ok(())
}

pub(super) async fn refuses_what_it_does_not_declare(account: &Account) -> Outcome {
    let on = account.open();
    let source = &on.source;
    let capabilities = source.capabilities();
    let instant = Timestamp::UNIX_EPOCH;
    let mut queries = Vec::new();
    if !capabilities.window {
        queries.extend(
            TimeWindow::new(instant, instant + SignedDuration::from_secs(1)).map(SessionQuery::started_in),
        );
    }
    if !capabilities.updated_since {
        queries.push(SessionQuery::changed_since(instant));
    }
    if !capabilities.finished {
        queries.push(SessionQuery::all().with_finished(true));
    }
    for asset in [AssetRef::vehicle("v"), AssetRef::charge_point("c")] {
        if !capabilities.assets.contains(&asset.kind) {
            queries.push(SessionQuery::all().with_asset(asset));
        }
    }
    for query in queries {
        let before = on.line.requests();
        let kind = source.fetch_page(&query, None).await.err().map(|error| error.kind());
        require(kind == Some(ErrorKind::Unsupported), || format!("{query:?} gave {kind:?}"))?;
        require(on.line.requests() == before, || format!("{query:?} was refused only after a request"))?;
    }
    Ok(())
}

pub(super) async fn keeps_the_bounds_of_a_window(account: &Account) -> Outcome {
    let on = account.open();
    if !on.source.capabilities().window {
        return Ok(());
    }
    let mut starts: Vec<_> =
        on.everything().await?.iter().filter_map(|session| session.timing.period.start).collect();
    starts.sort();
    starts.dedup();
    let everything = on.everything().await?;
    let expected = |window: TimeWindow| -> BTreeSet<String> {
        let inside = |s: &&ChargingSession| s.timing.period.start.is_some_and(|start| window.contains(start));
        everything.iter().filter(inside).map(|s| s.key().source_id.clone()).collect()
    };
    // The second, the middle and the last start, each as first instant and as end of a window.
    let picks = [starts.get(1), starts.get(starts.len() / 2), starts.last()];
    let day = SignedDuration::from_hours(24);
    for at in picks.into_iter().flatten().copied() {
        let windows = [
            (at, at + SignedDuration::from_nanos(1)),
            (at, at + day),
            (at - day, at),
            (at + SignedDuration::from_nanos(1), at + day),
        ];
        for (from, until) in windows {
            let Some(window) = TimeWindow::new(from, until) else { continue };
            let read: BTreeSet<_> = sessions(&on.read(SessionQuery::started_in(window)).await?)
                // A session without a start cannot be placed, and may come with any window.
                .filter(|session| session.timing.period.start.is_some())
                .map(|session| session.key().source_id.clone())
                .collect();
            same(&format!("the window {window}"), &read, &expected(window))?;
        }
    }
    Ok(())
}

pub(super) async fn tells_finished_from_unfinished(account: &Account) -> Outcome {
    let on = account.open();
    if !on.source.capabilities().finished {
        return Ok(());
    }
    let everything = on.everything().await?;
    for finished in [true, false] {
        let expected = everything
            .iter()
            .filter(|session| (session.state.status != SessionStatus::Active) == finished)
            .map(|session| session.key().source_id.clone())
            .collect();
        let read = on.ids(SessionQuery::all().with_finished(finished)).await?;
        same(&format!("the listing with finished = {finished}"), &read, &expected)?;
    }
    Ok(())
}

pub(super) async fn narrows_to_assets(account: &Account) -> Outcome {
    let on = account.open();
    let kinds = on.source.capabilities().assets;
    let everything = on.everything().await?;
    for kind in kinds {
        let mut by_asset = BTreeMap::<AssetRef, BTreeSet<String>>::new();
        for session in &everything {
            if let Some(asset) = asset(session, *kind) {
                by_asset.entry(asset).or_default().insert(session.key().source_id.clone());
            }
        }
        require(!by_asset.is_empty(), || {
            format!("no session names its {kind:?}, so this cannot be checked")
        })?;
        let mut both = (SessionQuery::all(), BTreeSet::new());
        for (asset, expected) in by_asset.into_iter().take(2) {
            let read = on.ids(SessionQuery::all().with_asset(asset.clone())).await?;
            same(&format!("the listing of {asset}"), &read, &expected)?;
            both.0 = both.0.with_asset(asset);
            both.1.extend(expected);
        }
        // Small pages, so that the walk from one asset to the next happens in the middle of a listing.
        let read = on.ids(both.0.with_page_size(size(2))).await?;
        same("the listing of two assets", &read, &both.1)?;
    }
    Ok(())
}

pub(super) async fn keeps_its_keys(account: &Account) -> Outcome {
    let on = account.open();
    let provider = on.source.provider();
    let (first, second) = (keys(&on).await?, keys(&on).await?);
    require(first == second, || "two listings gave different keys".into())?;
    require(first.iter().all(|key| key.provider == provider), || "a key names another provider".into())?;
    require(first.len() <= account.records.len(), || {
        format!("{} keys for {} records", first.len(), account.records.len())
    })
}

pub(super) async fn keeps_its_keys_in_another_source(account: &Account) -> Outcome {
    let (first, second) = (keys(&account.open()).await?, keys(&account.open()).await?);
    match first.symmetric_difference(&second).next() {
        Some(key) => Err(format!("only one source gave {key}")),
        None => Ok(()),
    }
}

async fn keys(on: &Trial<'_>) -> Result<BTreeSet<SessionKey>, String> {
    Ok(on.everything().await?.into_iter().map(|session| session.identity.key).collect())
}

pub(super) async fn keeps_the_payload(account: &Account) -> Outcome {
    let on = account.open();
    for session in on.everything().await? {
        let kept = session.provenance.payload.as_ref().is_some_and(|payload| !payload.is_empty());
        require(kept, || format!("{} has no payload", session.key()))?;
    }
    Ok(())
}
