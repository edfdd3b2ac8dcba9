//! Answers that no documentation promises.

use std::{collections::BTreeMap, mem, panic::AssertUnwindSafe, sync::Arc};

use charging_sessions_core::{ChargingSession, Cursor, SessionPage, SessionQuery};
use charging_sessions_http::{Bytes, Response};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::{
    Outcome,
    line::{Effect, Fault},
    trial::{Account, failed, require, size},
};

/// How many odd answers are tried at most, drawn evenly from all.
const MOST_CASES: usize = 2500;

/// What takes the place of each node. Their number is a prime, so that drawing evenly leaves none of them out.
fn odd_values() -> [Value; 17] {
    let hostile = "\u{1b}[2J\u{1b}]0;x\u{7}=1+1\u{202e}\0".repeat(20);
    [
        Value::Null,
        json!(""),
        json!(hostile),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(0.1),
        json!(true),
        json!([]),
        json!({}),
        json!([[[1]], {"a": [null]}]),
        json!("0001-01-01T00:00:00Z"),
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("2026-13-45 not a date"),
        json!("-0.000000000000000000000000000000000001"),
    ]
}

/// What is no JSON at all.
fn no_json(body: &Bytes) -> [Bytes; 7] {
    [
        Bytes::new(),
        Bytes::from_static(b" \n"),
        Bytes::from_static(b"\xff\xfe\x00{"),
        Bytes::from_static(b"<!doctype html><title>Back soon</title>"),
        Bytes::from_static(b"[{\"id\":"),
        Bytes::from("[".repeat(100_000)),
        body.slice(..body.len() / 2),
    ]
}

/// Takes the answers behind the first page that has sessions, replaces their nodes one after another, and looks
/// what becomes of the page. Everything else is answered from memory, so that it is quick.
pub(super) async fn survives_odd_answers(account: &Account) -> Outcome {
    let scene = Scene::record(account).await?;
    let listing = &scene.answers[&scene.listing];
    let body: Value =
        serde_json::from_slice(listing.body()).map_err(|error| format!("an answer: {error}"))?;
    let plain = scene.serve(account, &scene.listing, body.to_string().into()).await?;
    let plain = plain.map_err(|error| format!("an answer that was only written anew failed: {error}"))?;
    let records = records(&plain, &body);
    require(!records.is_empty(), || "no payload is found in the answer that it came in".into())?;

    for target in &scene.targets {
        for body in no_json(scene.answers[target].body()) {
            let what = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            let page = scene.serve(account, target, body).await;
            let page = page.map_err(|reason| format!("{what:?}…: {reason}"))?;
            require(page.is_err(), || format!("{what:?}…, which is no JSON, gave a page"))?;
        }
    }

    let mut cases = Vec::new();
    for target in &scene.targets {
        let Ok(body) = serde_json::from_slice::<Value>(scene.answers[target].body()) else { continue };
        let pointers: Vec<_> = nodes(&body).into_iter().map(|(pointer, _)| pointer).collect();
        let body = Arc::new(body);
        for pointer in pointers {
            cases.extend(odd_values().map(|odd| (target, Arc::clone(&body), pointer.clone(), odd)));
        }
    }
    let step = cases.len().div_ceil(MOST_CASES);
    for (target, body, pointer, odd) in cases.into_iter().step_by(step) {
        let what = format!("`{}` at {pointer:?}", odd.to_string().chars().take(40).collect::<String>());
        // Some providers write nothing as null.
        let is_list = odd.is_array() || odd.is_null();
        let mut changed = Value::clone(&body);
        let node = changed.pointer_mut(&pointer).map(|node| mem::replace(node, odd)).unwrap_or_default();
        let page = scene.serve(account, target, changed.to_string().into()).await;
        let page = page.map_err(|reason| format!("{what}: {reason}"))?;
        if *target != scene.listing {
            continue;
        }
        let Some((_, id)) = records.iter().find(|(record, _)| is_below(&pointer, record)) else {
            let is_above = records.iter().any(|(record, _)| is_below(record, &pointer));
            require(page.is_err() || is_list || !is_above, || {
                format!("{what}, where a list of records is expected, gave a page")
            })?;
            continue;
        };
        // One bad record fails no page, and one bad field loses no record.
        let page = page.map_err(|error| format!("{what} failed the page: {error}"))?;
        let (count, before) = (count(&page), count(&plain));
        require(page.rejected.iter().all(|record| record.context.is_some()), || {
            format!("{what} rejects a record without its context, so that no later release can try it again")
        })?;
        // Records inside of what was replaced are gone with it. What stands for a list of them is one reject at least.
        let inside =
            records.iter().filter(|(record, _)| *record != pointer && is_below(record, &pointer)).count();
        let is_record = records.iter().any(|(record, _)| *record == pointer);
        let least = before - inside + usize::from(inside > 0 && !is_record && !is_list);
        let kept = if inside == 0 { count == before } else { count >= least };
        require(kept || is_identifier(&node, id), || format!("{what} leaves {count} of {before} records"))?;
    }
    Ok(())
}

fn count(page: &SessionPage) -> usize {
    page.sessions.len() + page.rejected.len()
}

/// Where the records of a page are in the answer that they came in, and their identifiers.
fn records<'a>(page: &'a SessionPage, body: &Value) -> Vec<(String, &'a str)> {
    let nodes = nodes(body);
    let place = |session: &'a ChargingSession| {
        let payload = session.provenance.payload.as_ref()?;
        let record: Value = serde_json::from_slice(payload.as_bytes()).ok()?;
        let (pointer, _) = nodes.iter().find(|(_, node)| **node == record)?;
        Some((pointer.clone(), session.key().source_id.as_str()))
    };
    page.sessions.iter().filter_map(place).collect()
}

/// Every node with its JSON pointer.
fn nodes(value: &Value) -> Vec<(String, &Value)> {
    let mut nodes = Vec::new();
    let mut ahead = vec![(String::new(), value)];
    while let Some((pointer, value)) = ahead.pop() {
        match value {
            Value::Array(items) => {
                ahead.extend(items.iter().enumerate().map(|(at, item)| (format!("{pointer}/{at}"), item)));
            }
            Value::Object(members) => ahead.extend(members.iter().map(|(name, member)| {
                (format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), member)
            })),
            _ => {}
        }
        nodes.push((pointer, value));
    }
    nodes
}

/// Whether `pointer` is `record`, or inside of it.
fn is_below(pointer: &str, record: &str) -> bool {
    pointer.strip_prefix(record).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `node` is all or part of the identifier of its record.
fn is_identifier(node: &Value, id: &str) -> bool {
    match node {
        Value::String(text) => !text.is_empty() && id.contains(text.as_str()),
        Value::Number(number) => id.contains(&number.to_string()),
        _ => false,
    }
}

/// A page, and all answers that led to it.
struct Scene {
    query: SessionQuery,
    cursor: Option<Cursor>,
    /// By the target of the request.
    answers: Arc<BTreeMap<String, Response>>,
    /// The requests that were made for this page, sign-ins apart.
    targets: Vec<String>,
    /// The one among them that was answered with the records.
    listing: String,
}

impl Scene {
    /// The first page that has a session.
    async fn record(account: &Account) -> Result<Self, String> {
        let on = account.open();
        let query = SessionQuery::all().with_page_size(size(3));
        let mut cursor = None;
        loop {
            let before = on.line.requests();
            let page = on.source.fetch_page(&query, cursor.as_ref()).await;
            let page = page.map_err(|error| failed("a page", &error))?;
            let Some(session) = page.sessions.first() else {
                cursor = Some(page.next.ok_or("no page has sessions")?);
                continue;
            };
            let sent = on.line.sent();
            let targets = sent[before..].iter().filter(|sent| !sent.is_sign_in);
            let targets: Vec<_> = targets.map(|sent| sent.target.clone()).collect();
            let answers: BTreeMap<_, _> =
                sent.into_iter().filter_map(|sent| Some((sent.target, sent.answer?))).collect();
            let payload = session.provenance.payload.clone().unwrap_or_default();
            let has_it = |target: &&String| {
                let body = answers.get(*target).map_or(&[][..], |answer| answer.body());
                body.windows(payload.len().max(1)).any(|part| part == payload.as_bytes())
            };
            let listing =
                targets.iter().find(has_it).ok_or("the payload of a session is in no answer")?.clone();
            return Ok(Self { query, cursor, answers: Arc::new(answers), targets, listing });
        }
    }

    /// The page, if the request with this target was answered with `body`.
    async fn serve(
        &self,
        account: &Account,
        target: &str,
        body: Bytes,
    ) -> Result<charging_sessions_core::Result<SessionPage>, String> {
        let on = account.open_with(|policy| policy.with_max_attempts(1));
        on.line.replay(Arc::clone(&self.answers));
        let mut answer = self.answers[target].clone();
        *answer.body_mut() = body;
        on.line.fail(Fault::of(target.to_owned(), Effect::Answer(answer)));
        let page = AssertUnwindSafe(on.source.fetch_page(&self.query, self.cursor.as_ref()));
        let page = page.catch_unwind().await.map_err(|_| "the source panics")?;
        require(on.line.hits() > 0, || "a page that is read again is asked for otherwise".into())?;
        Ok(page)
    }
}
