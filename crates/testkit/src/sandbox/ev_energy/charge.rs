//! How energy flows while a vehicle is plugged in.
//!
//! Everything is counted in whole seconds, watt-hours and hundredths of a minor unit. Shares are cut so that
//! the parts always make up the whole.

use super::account::{Place, Tariff};

/// The length of an interval of energy usage. Intervals begin on the hour and on the half hour.
pub(super) const HALF_HOUR: i64 = 1800;

/// Solar share of the energy at noon, in percent, from January on.
const SOLAR: [i64; 12] = [8, 14, 30, 45, 60, 72, 76, 70, 52, 32, 13, 7];

/// Grams of carbon dioxide per kilowatt-hour, from midnight on.
const CARBON: [i64; 24] = [
    118, 112, 108, 106, 110, 124, 148, 176, 189, 180, 166, 152, 144, 140, 146, 162, 198, 232, 246, 238, 214,
    182, 154, 132,
];

/// A stretch of a plug-in in one mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) mode: &'static str,
    pub(super) start: i64,
    pub(super) end: i64,
}

/// Half an hour, or the part of it that a stretch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Aligned, so it may lie before the stretch begins.
    pub(super) start: i64,
    /// How long energy flowed.
    pub(super) active_seconds: i64,
    pub(super) wh: i64,
    /// The part of `wh` that came from the roof.
    pub(super) solar_wh: i64,
    /// Hundredths of a minor unit per kilowatt-hour.
    pub(super) price: i64,
    /// Grams per kilowatt-hour.
    pub(super) carbon: i64,
}

impl Slot {
    pub(super) fn grid_wh(&self) -> i64 {
        self.wh - self.solar_wh
    }
}

/// What determines the flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply<'a> {
    pub(super) place: &'a Place,
    pub(super) tariff: &'a Tariff,
    pub(super) watts: i64,
    pub(super) solar: bool,
    /// Nothing has happened after this second.
    pub(super) now: i64,
}

/// Spreads `need` watt-hours over the stretches of one plug-in, in order.
///
/// A smart stretch waits for the cheap hours, and for the sun where there is a roof; only the last one takes
/// dear hours for what is still missing. Any other stretch charges at once.
pub(super) fn spread(stretches: &[Stretch], need: i64, supply: Supply<'_>) -> Vec<Vec<Slot>> {
    let mut missing = need;
    let mut all = Vec::with_capacity(stretches.len());
    for (index, stretch) in stretches.iter().enumerate() {
        let last = index + 1 == stretches.len();
        let smart = matches!(stretch.mode, "SMART" | "MANAGED_OTG");
        let mut slots = empty_slots(stretch.start, stretch.end, supply);
        let mut order: Vec<(u8, usize)> = slots
            .iter()
            .enumerate()
            .map(|(index, slot)| (if smart { rank(slot, supply) } else { 0 }, index))
            .filter(|(rank, _)| last || *rank < DEAR)
            .collect();
        order.sort_unstable();
        for (_, index) in order {
            let slot = &mut slots[index];
            let seconds = covered(stretch, slot.start);
            let wh = (seconds * supply.watts / 3600).min(missing);
            missing -= wh;
            slot.wh = wh;
            slot.active_seconds = (wh * 3600 / supply.watts).min(seconds);
        }
        for slot in &mut slots {
            until(supply.now, stretch, slot);
            slot.solar_wh = slot.wh * solar_percent(slot.start, supply) / 100;
        }
        slots.retain(|slot| slot.start < supply.now);
        all.push(slots);
    }
    all
}

/// The half hours that a stretch touches, without energy.
pub(super) fn empty_slots(start: i64, end: i64, supply: Supply<'_>) -> Vec<Slot> {
    let first = start - start.rem_euclid(HALF_HOUR);
    let count = (end - first + HALF_HOUR - 1) / HALF_HOUR;
    (0..count.max(1))
        .map(|index| {
            let start = first + index * HALF_HOUR;
            let (_, minute) = supply.place.zone.month_and_minute(start);
            let hour = usize::try_from(minute / 60).expect("minutes of the day are positive");
            // The weather of a day moves the whole curve.
            let weather = 80 + (start.div_euclid(86_400) * 37).rem_euclid(45);
            let carbon = CARBON[hour] * weather / 100;
            let price = supply.tariff.price(minute);
            Slot { start, active_seconds: 0, wh: 0, solar_wh: 0, price, carbon }
        })
        .collect()
}

const DEAR: u8 = 2;

fn rank(slot: &Slot, supply: Supply<'_>) -> u8 {
    if solar_percent(slot.start, supply) >= 40 {
        0
    } else if slot.price == supply.tariff.night {
        1
    } else {
        DEAR
    }
}

fn solar_percent(start: i64, supply: Supply<'_>) -> i64 {
    if !supply.solar {
        return 0;
    }
    let (month, minute) = supply.place.zone.month_and_minute(start);
    // A tent over noon, from eight to five.
    let height = 100 - ((minute - 750).abs() * 100 / 270).min(100);
    SOLAR[month - 1] * height / 100
}

fn covered(stretch: &Stretch, slot: i64) -> i64 {
    (stretch.end.min(slot + HALF_HOUR) - stretch.start.max(slot)).max(0)
}

/// Takes away what would flow after `now`.
fn until(now: i64, stretch: &Stretch, slot: &mut Slot) {
    let left = (now - stretch.start.max(slot.start)).max(0);
    if left < slot.active_seconds {
        slot.wh = slot.wh * left / slot.active_seconds;
        slot.active_seconds = left;
    }
}

/// Changes the slots so that they make up `total`, each in proportion.
pub(super) fn rescale(slots: &mut [Slot], total: i64) {
    let before: i64 = slots.iter().map(|slot| slot.wh).sum();
    if before == 0 {
        if let Some(first) = slots.first_mut() {
            first.wh = total;
        }
        return;
    }
    let (mut seen, mut given) = (0, 0);
    for slot in slots {
        seen += slot.wh;
        // Cutting the running total, not each part, leaves no remainder at the end.
        let until_here = scaled(total, seen, before);
        let wh = until_here - given;
        slot.solar_wh = if slot.wh == 0 { 0 } else { scaled(wh, slot.solar_wh, slot.wh) };
        slot.wh = wh;
        given = until_here;
    }
}

fn scaled(value: i64, part: i64, whole: i64) -> i64 {
    let wide = i128::from(value) * i128::from(part) / i128::from(whole);
    i64::try_from(wide).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ev_energy::account::{Assets, PLACES};

    #[test]
    fn a_smart_stretch_waits_for_the_night_and_delivers_what_is_needed() {
        let assets = Assets::invent(7, "GBP");
        let supply = Supply {
            place: &PLACES[0],
            tariff: &assets.tariff,
            watts: 7_400,
            solar: false,
            now: i64::MAX / 2,
        };
        // From 18:10 to 07:00 in winter.
        let start = "2026-01-14T18:10:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let stretch = Stretch { mode: "SMART", start, end: start + 12 * 3600 + 3000 };
        let slots = &spread(&[stretch], 20_000, supply)[0];
        assert_eq!(slots.iter().map(|slot| slot.wh).sum::<i64>(), 20_000);
        assert!(slots.iter().all(|slot| slot.wh == 0 || slot.price == 750));
        assert!(slots.iter().all(|slot| slot.start % HALF_HOUR == 0));
        assert_eq!(slots[0].start, start - 600);
    }

    #[test]
    fn rescaled_slots_make_up_the_new_total() {
        let slot = Slot { start: 0, active_seconds: 1800, wh: 333, solar_wh: 100, price: 750, carbon: 100 };
        let mut slots = [slot; 7];
        rescale(&mut slots, 1_000);
        assert_eq!(slots.iter().map(|slot| slot.wh).sum::<i64>(), 1_000);
        rescale(&mut slots, 70);
        assert_eq!(slots.iter().map(|slot| slot.wh).sum::<i64>(), 70);
        assert!(slots.iter().all(|slot| [2, 3].contains(&slot.solar_wh)), "the share stays: {slots:?}");
        rescale(&mut slots, 0);
        rescale(&mut slots, 5);
        assert_eq!((slots[0].wh, slots[0].solar_wh, slots[6].wh), (5, 0, 0));
    }
}
