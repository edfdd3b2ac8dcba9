//! `charging-sessions show`: everything that is known of one session.

use std::io::{self, Write};

use charging_sessions::SessionKey;
use charging_sessions_store::{Revision, SessionStore, StoredSession};
use serde_json::{Value, json};

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    stored, text,
};

/// Which session, and what of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The handle of a session or its beginning, or its key as PROVIDER/ACCOUNT/KIND/ID.
    #[arg(value_name = "SESSION")]
    session: String,
    /// The bytes that it was read from, as they came, and nothing else.
    #[arg(long, conflicts_with_all = ["revisions", "json"])]
    raw: bool,
    /// What it has been, and what changed each time.
    #[arg(long)]
    revisions: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &ShowArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let store = stored::read(&config).await?;
    let key = key(&*store, &args.session).await?;
    let stored = store.session(&key).await?.ok_or_else(|| nothing(&args.session))?;
    let mut out = io::stdout().lock();
    if args.raw {
        let payload = match &stored.payload {
            Some(hash) => store.payload(hash).await?,
            None => None,
        };
        let payload = payload.ok_or_else(|| Failure::other(format!("{key} was stored without its bytes")))?;
        out.write_all(payload.as_bytes())?;
        return Ok(Code::Done);
    }
    let revisions = if args.revisions { store.revisions(&key).await? } else { Vec::new() };
    if args.json {
        let mut shown = record(&stored);
        if args.revisions {
            shown["revisions"] = revisions.iter().map(revision).collect();
        }
        writeln!(out, "{shown:#}")?;
        return Ok(Code::Done);
    }
    for (place, value) in leaves(&record(&stored)) {
        writeln!(out, "{place:<44} {}", text::visible(&plain(&value)))?;
    }
    let mut before: Option<Value> = None;
    for revision in &revisions {
        let at = revision.at.to_zoned(config.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z");
        writeln!(out, "\nrevision {} of {at}: {}", revision.number, revision.reason)?;
        let now = json!(revision.session);
        if let Some(before) = before.replace(now.clone()) {
            write_differences(&mut out, &before, &now)?;
        }
    }
    Ok(Code::Done)
}

/// The session that a person means.
async fn key(store: &dyn SessionStore, text: &str) -> Result<SessionKey, Failure> {
    if let [provider, account, kind, id] = text.splitn(4, '/').collect::<Vec<_>>()[..] {
        let parts = json!({"provider": provider, "account": account, "kind": kind, "source_id": id});
        return serde_json::from_value(parts).map_err(|error| {
            Failure::usage(format!("{} is no key of a session: {error}", text::visible(text)))
        });
    }
    let found = store.find(text).await?;
    match &found[..] {
        [] => Err(nothing(text)),
        [one] => Ok(one.clone()),
        several => {
            let handles: Vec<_> = several.iter().map(|key| key.id().to_string()).collect();
            Err(Failure::usage(format!("several sessions begin with that: {}", handles.join(", "))))
        }
    }
}

fn nothing(text: &str) -> Failure {
    Failure::other(format!("the store has no session {}", text::visible(text)))
}

/// A session with what the store knows about it.
fn record(stored: &StoredSession) -> Value {
    json!({
        "handle": stored.session.key().id().to_string(),
        "session": stored.session,
        "revision": stored.revision,
        "first_seen_at": stored.first_seen_at,
        "last_seen_at": stored.last_seen_at,
        "missing_since": stored.missing_since,
        "content_sha256": stored.content.to_string(),
        "payload_sha256": stored.payload.map(|hash| hash.to_string()),
    })
}

fn revision(revision: &Revision) -> Value {
    json!({
        "number": revision.number,
        "at": revision.at,
        "reason": revision.reason.to_string(),
        "session": revision.session,
    })
}

/// Every value that is no container, with its place.
fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, place: String, leaves: &mut Vec<(String, Value)>) {
        let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(key, member)| walk(member, below(key), leaves));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| walk(item, below(&at.to_string()), leaves));
            }
            Value::Null => {}
            leaf => leaves.push((place, leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk(value, String::new(), &mut found);
    found
}

/// What is another in `new` than in `old`: the place, and both values. Null stands for nothing.
pub(crate) fn differences(old: &Value, new: &Value) -> Vec<(String, Value, Value)> {
    let (old, new) = (leaves(old), leaves(new));
    let find = |leaves: &[(String, Value)], place: &str| {
        leaves.iter().find(|(at, _)| at == place).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let gone = old.iter().filter(|(place, _)| new.iter().all(|(at, _)| at != place));
    let places = new.iter().chain(gone).map(|(place, _)| place.clone());
    places
        .map(|place| (find(&old, &place), find(&new, &place), place))
        .filter(|(old, new, _)| old != new)
        .map(|(old, new, place)| (place, old, new))
        .collect()
}

/// A line for each value that is another in `new` than in `old`.
pub(crate) fn write_differences(out: &mut impl Write, old: &Value, new: &Value) -> io::Result<()> {
    for (place, old, new) in differences(old, new) {
        let (old, new) = (plain(&old), plain(&new));
        writeln!(out, "  {place}: {} -> {}", text::visible(&old), text::visible(&new))?;
    }
    Ok(())
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_with_its_place() {
        let old = json!({"a": 1, "b": {"c": "x", "d": [1, 2]}, "gone": true});
        let new = json!({"a": 1, "b": {"c": "y", "d": [1, 3]}, "come": 7});
        let told: Vec<_> = differences(&old, &new)
            .into_iter()
            .map(|(place, old, new)| format!("{place}: {} -> {}", plain(&old), plain(&new)))
            .collect();
        assert_eq!(told, ["b.c: x -> y", "b.d.1: 2 -> 3", "come: nothing -> 7", "gone: true -> nothing"]);
        assert_eq!(differences(&new, &new), []);
    }
}
