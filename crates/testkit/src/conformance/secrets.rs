//! What must not show.

use std::{
    error::Error as _,
    fmt::Debug,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use charging_sessions_core::{Cursor, Error, SessionQuery};
use tracing_subscriber::{filter::LevelFilter, fmt::format::FmtSpan, util::SubscriberInitExt as _};

use super::{
    Outcome,
    line::{Effect, Fault, answer},
    trial::{Account, Trial, require, sessions, size},
};

pub(super) async fn hides_its_secrets(account: &Account) -> Outcome {
    let log = Log::default();
    let listening = log.listen();
    let on = account.open();
    let pages = on.read(SessionQuery::all().with_page_size(size(3))).await?;
    let cursors: Vec<_> = pages.iter().filter_map(|page| page.next.as_ref()).map(Cursor::as_str).collect();
    let json = serde_json::to_string(&sessions(&pages).collect::<Vec<_>>());
    let json = json.map_err(|error| format!("sessions cannot be serialized: {error}"))?;
    let garbage = on.source.fetch_page(&SessionQuery::all(), Some(&Cursor::from("garbage"))).await;
    let mut shown = vec![
        ("the source", both(&on.source)),
        ("a cursor", cursors.join(" ")),
        ("a page", both(&pages)),
        ("a session as JSON", json),
        ("an error", garbage.err().map(|error| tell(&error)).unwrap_or_default()),
    ];
    // One that cannot sign in, and one that finds nobody.
    let unauthorized = answer(401, "application/json", "{}");
    let faults = [
        Fault::sign_in(Effect::Answer(unauthorized)),
        Fault::sign_in(Effect::Lost),
        Fault::from(0, Effect::Lost),
    ];
    let mut known = vec![on];
    for fault in faults {
        let on = account.open();
        on.line.fail(fault);
        let page = on.source.fetch_page(&SessionQuery::all(), None).await;
        shown.push(("an error", page.err().map(|error| tell(&error)).unwrap_or_default()));
        shown.push(("the source", both(&on.source)));
        known.push(on);
    }
    drop(listening);
    shown.push(("the log", log.text()));
    hidden(&known, &shown)
}

pub(super) async fn hides_what_is_echoed(account: &Account) -> Outcome {
    for status in [200, 400, 401, 403, 500] {
        for fault in [Fault::from(0, Effect::Echo(status)), Fault::sign_in(Effect::Echo(status))] {
            let log = Log::default();
            let listening = log.listen();
            let on = account.open();
            on.line.fail(fault);
            let page = on.source.fetch_page(&SessionQuery::all(), None).await;
            drop(listening);
            let error = page.err().map(|error| tell(&error)).unwrap_or_default();
            hidden(&[on], &[("an error", error), ("the log", log.text())])
                .map_err(|reason| format!("{reason}, after {status}"))?;
        }
    }
    Ok(())
}

fn both(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

/// Everything that an error says, and its causes.
fn tell(error: &Error) -> String {
    let mut text = format!("{error} {}", both(error));
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

/// Shorter texts occur by chance.
const SHORTEST_SECRET: usize = 4;

/// Fails if a secret of one of these trials is in one of these texts.
fn hidden(trials: &[Trial<'_>], shown: &[(&str, String)]) -> Outcome {
    for trial in trials {
        let secrets = trial.line.secrets().into_iter().chain(trial.account.secrets.iter().cloned());
        for secret in secrets.filter(|secret| secret.len() >= SHORTEST_SECRET) {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let place = shown.iter().find(|(_, text)| text.contains(&secret) || text.contains(&encoded));
            require(place.is_none(), || {
                format!("{} shows a secret", place.map_or("nothing", |(place, _)| *place))
            })?;
        }
    }
    Ok(())
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to this thread, which is the whole runtime of a `#[tokio::test]`.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .set_default()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
