//! Which sessions are of a vehicle or of a charge point, without a look at the others.

use charging_sessions_core::{AssetKind, AssetRef};
use rusqlite::{Connection, params};

use super::prefixes::prefix;
use crate::{Hash, columns::asset_column};

/// How many bytes of a hash tell assets apart. The session itself decides.
const BYTES: usize = 7;

/// Sessions whose numbers follow each other, the first and the last.
pub(super) type Run = (i64, i64);

/// What an asset is found by.
fn number(account_id: i64, kind: AssetKind, id: &str) -> i64 {
    let name = format!("{account_id} {} {id}", asset_column(kind));
    prefix(Hash::of(name.as_bytes()).as_bytes(), BYTES)
}

/// The runs of the assets of sessions that are not entered yet.
#[derive(Default)]
pub(super) struct NewRuns {
    vehicles: Runs,
    charge_points: Runs,
}

impl NewRuns {
    /// Adds a session, whose number is larger than those before it.
    pub(super) fn add(
        &mut self,
        id: i64,
        account_id: i64,
        vehicle: Option<&str>,
        charge_point: Option<&str>,
    ) {
        self.vehicles.add(id, account_id, AssetKind::Vehicle, vehicle);
        self.charge_points.add(id, account_id, AssetKind::ChargePoint, charge_point);
    }

    /// The sessions that may be of this asset, in order and none twice: those that wait, and those that are entered.
    pub(super) fn of(
        &self,
        c: &Connection,
        account_id: i64,
        AssetRef { kind, id }: &AssetRef,
    ) -> rusqlite::Result<Vec<Run>> {
        let asset = number(account_id, *kind, id);
        let mut found = c.prepare_cached("SELECT first_id, last_id FROM asset_runs WHERE asset = ?")?;
        let mut all: Vec<Run> =
            found.query_map([asset], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let new = match kind {
            AssetKind::Vehicle => &self.vehicles,
            AssetKind::ChargePoint => &self.charge_points,
        };
        all.extend(new.runs.iter().filter(|run| run.asset == asset).map(|run| run.ids));
        all.sort_unstable();
        // Where a session was of another asset for a while, runs may cover the same ones.
        all.dedup_by(|next, last| {
            let joins = next.0 <= last.1 + 1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        Ok(all)
    }

    /// Enters them, in order.
    pub(super) fn enter(self, c: &Connection) -> rusqlite::Result<()> {
        let mut all = self.vehicles.runs;
        all.extend(self.charge_points.runs);
        all.sort_unstable_by_key(|run| (run.asset, run.ids));
        all.iter().try_for_each(|run| enter(c, run.asset, run.ids))
    }
}

/// The most sessions of an asset that are rather read all, and put in order, than found in the order of all.
const FEW: i64 = 4096;

/// The sessions that may be of this asset and are entered, in order and none twice, unless there are many.
pub(super) fn of_few(
    c: &Connection,
    account_id: i64,
    asset: &AssetRef,
) -> rusqlite::Result<Option<Vec<Run>>> {
    let runs = NewRuns::default().of(c, account_id, asset)?;
    Ok((count(&runs) <= FEW).then_some(runs))
}

/// How many sessions there are in these runs.
pub(super) fn count(runs: &[Run]) -> i64 {
    runs.iter().map(|(first, last)| last - first + 1).sum()
}

/// Enters a session that is of this asset now, and was of another one before.
pub(super) fn moved(
    c: &Connection,
    id: i64,
    account_id: i64,
    kind: AssetKind,
    asset: &str,
) -> rusqlite::Result<()> {
    enter(c, number(account_id, kind, asset), (id, id))
}

fn enter(c: &Connection, asset: i64, (first, last): Run) -> rusqlite::Result<()> {
    let sql = "INSERT INTO asset_runs (asset, first_id, last_id) VALUES (?, ?, ?) \
               ON CONFLICT DO UPDATE SET last_id = max(last_id, excluded.last_id)";
    c.prepare_cached(sql)?.execute(params![asset, first, last]).map(drop)
}

/// Whether a session up to `end` is found by an asset that it is of.
pub(super) fn is_entered(
    c: &Connection,
    id: i64,
    account_id: i64,
    kind: AssetKind,
    asset: &str,
) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM asset_runs WHERE asset = ?1 AND first_id <= ?2 AND last_id >= ?2 \
               ORDER BY first_id DESC";
    c.prepare_cached(sql)?.exists((number(account_id, kind, asset), id))
}

/// The runs of all assets of one kind, in the order in which they began.
#[derive(Default)]
struct Runs {
    runs: Vec<AssetRun>,
    /// What the last one is of: most sessions have the asset of the one before.
    latest: (i64, String),
}

struct AssetRun {
    asset: i64,
    ids: Run,
}

impl Runs {
    fn add(&mut self, id: i64, account_id: i64, kind: AssetKind, asset: Option<&str>) {
        let Some(asset) = asset else { return };
        let same = self.latest.0 == account_id && self.latest.1 == asset;
        match self.runs.last_mut().filter(|_| same) {
            Some(run) if run.ids.1 + 1 == id => run.ids.1 = id,
            Some(&mut AssetRun { asset, .. }) => self.runs.push(AssetRun { asset, ids: (id, id) }),
            None => {
                self.runs.push(AssetRun { asset: number(account_id, kind, asset), ids: (id, id) });
                self.latest = (account_id, asset.to_owned());
            }
        }
    }
}
