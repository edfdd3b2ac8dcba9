//! What a run has to read.

use std::collections::{BTreeSet, HashMap};

use charging_sessions_core::{AssetRef, ChargingSession, RecordKind, TimeWindow};
use charging_sessions_store::{Coverage, Slice};
use jiff::{SignedDuration, Timestamp};

/// The slices of a run, and how many need no reading.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) slices: Vec<Slice>,
    pub(crate) skipped: u64,
}

/// What has been read as a whole, of each asset and of all together.
pub(crate) type ByAsset<'a> = HashMap<Option<&'a AssetRef>, Vec<&'a Coverage>>;

pub(crate) fn by_asset<'a>(coverage: impl IntoIterator<Item = &'a Coverage>) -> ByAsset<'a> {
    let mut by_asset = ByAsset::new();
    for read in coverage {
        by_asset.entry(read.slice.asset.as_ref()).or_default().push(read);
    }
    by_asset
}

/// What may have been of this asset: what was read of all, and of it alone.
pub(crate) fn near<'c>(
    coverage: &'c ByAsset<'c>,
    asset: Option<&'c AssetRef>,
) -> impl Iterator<Item = &'c Coverage> {
    let own = asset.and_then(|_| coverage.get(&asset));
    coverage.get(&None).into_iter().chain(own).flatten().copied()
}

/// What decides which windows are read.
pub(crate) struct Windows<'a> {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Timestamp,
    /// How long a window is.
    pub(crate) length: SignedDuration,
    pub(crate) look_back: SignedDuration,
    pub(crate) coverage: ByAsset<'a>,
    /// Sessions that had not ended when they were last seen.
    pub(crate) open: &'a [ChargingSession],
    /// Whether to read again what was read already.
    pub(crate) full: bool,
}

impl Windows<'_> {
    /// The windows of `asset`, or of all.
    pub(crate) fn plan(&self, asset: Option<&AssetRef>, kinds: &[RecordKind], plan: &mut Plan) {
        let slice = |window| Slice { window, asset: asset.cloned(), kinds: kinds.to_vec() };
        let coverage: Vec<_> = near(&self.coverage, asset).collect();
        let read_whole = coverage.iter().filter(|read| contains(&read.slice, &slice(None)));
        let read_whole = read_whole.map(|read| read.began_at).max().filter(|_| !self.full);
        let Some(from) = self.since.or_else(|| read_whole.map(|at| minus(at, self.look_back))) else {
            return plan.slices.push(slice(None));
        };
        let of_asset = |session: &&ChargingSession| asset.is_none_or(|asset| belongs(session, asset));
        let starts = self.open.iter().filter(of_asset).filter_map(|session| session.timing.period.start);
        let open: BTreeSet<_> = starts.map(|start| self.border(start)).collect();
        let mut borders = open.clone();
        let mut border = self.border(from);
        while border < self.until.as_second() {
            borders.insert(border);
            border += self.length.as_secs();
        }
        for border in borders {
            let Some(window) = self.window(border) else { continue };
            let slice = slice(Some(window));
            let settled = window.until().checked_add(self.look_back).unwrap_or(Timestamp::MAX);
            let is_settled = |read: &&Coverage| contains(&read.slice, &slice) && read.began_at >= settled;
            if self.full || open.contains(&border) || !coverage.iter().any(is_settled) {
                plan.slices.push(slice);
            } else {
                plan.skipped += 1;
            }
        }
    }

    /// The border at or before an instant. Borders are the same in every run, so that what runs have read fits
    /// together.
    fn border(&self, instant: Timestamp) -> i64 {
        let length = self.length.as_secs();
        instant.as_second().div_euclid(length) * length
    }

    fn window(&self, border: i64) -> Option<TimeWindow> {
        let instant = |second: i64| {
            Timestamp::from_second(second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())).ok()
        };
        TimeWindow::new(instant(border)?, instant(border + self.length.as_secs())?)
    }
}

/// Whether who has read `outer` has read `inner`.
pub(crate) fn contains(outer: &Slice, inner: &Slice) -> bool {
    let window = match (outer.window, inner.window) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => outer.from() <= inner.from() && inner.until() <= outer.until(),
    };
    let asset = outer.asset.is_none() || outer.asset == inner.asset;
    window && asset && inner.kinds.iter().all(|kind| outer.kinds.contains(kind))
}

pub(crate) fn minus(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn belongs(session: &ChargingSession, asset: &AssetRef) -> bool {
    let parties = &session.parties;
    let vehicle = parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.clone());
    let charge_point = parties.charge_point.as_ref().and_then(|point| point.source_id.clone());
    let named = [vehicle.map(AssetRef::vehicle), charge_point.map(AssetRef::charge_point)];
    named.into_iter().flatten().any(|named| named == *asset)
}
