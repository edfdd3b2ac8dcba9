//! Sessions of the store as reports and exports take them.

use charging_sessions_report::{Choice, Choosing, Record};
use charging_sessions_store::{Filter, SessionStore, StoredSession};

use crate::{exit::Failure, stored};

/// A session of the store with what the store knows about it.
pub(crate) fn record(stored: StoredSession) -> Record {
    let payload = stored.payload.map(|hash| *hash.as_bytes());
    Record::stored(stored.session, stored.revision, stored.missing_since, payload)
}

/// Which records count among those that the filter lets through, whatever its window: one of another month may tell of
/// the same charge. Those that have vanished are no records beside the others, unless they are all that was asked for.
pub(crate) async fn choice(
    store: &dyn SessionStore,
    filter: &Filter,
    vanished: bool,
) -> Result<Choice, Failure> {
    let mut filter = filter.clone();
    filter.window = None;
    filter.vanished = vanished.then_some(true);
    let mut choosing = Choosing::default();
    stored::each_of(store, &filter, |row| {
        let mut record = record(row);
        if vanished {
            record.missing_since = None;
        }
        choosing.add(&record);
        Ok(())
    })
    .await?;
    Ok(choosing.finish())
}
