//! What is wrong with real data.

use serde_json::{Value, json};

use super::{
    charge::rescale,
    data::{Draft, Pays, SubSession},
};

/// One thing that is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirt {
    ZeroEnergy,
    SubMinute,
    EndBeforeStart,
    ThousandTimes,
    NullCoordinates,
    NullPostalCode,
    NullTimezone,
    UnknownMode,
    UnknownLabel,
    NullCost,
    Free,
    Minimal,
    NullVehicle,
    NullEvse,
    NullBoth,
    Fractions,
    NonAscii,
    Formula,
    TerminalEscape,
}

const ALL: [Dirt; 19] = [
    Dirt::ZeroEnergy,
    Dirt::SubMinute,
    Dirt::EndBeforeStart,
    Dirt::ThousandTimes,
    Dirt::NullCoordinates,
    Dirt::NullPostalCode,
    Dirt::NullTimezone,
    Dirt::UnknownMode,
    Dirt::UnknownLabel,
    Dirt::NullCost,
    Dirt::Free,
    Dirt::Minimal,
    Dirt::NullVehicle,
    Dirt::NullEvse,
    Dirt::NullBoth,
    Dirt::Fractions,
    Dirt::NonAscii,
    Dirt::Formula,
    Dirt::TerminalEscape,
];

/// About one record in this many is dirty, but each kind comes at least once.
const RARITY: usize = 9;

/// The fields of a record that carries no more than it must, as events do.
const MINIMAL: [&str; 15] = [
    "id",
    "url",
    "start",
    "end",
    "mode",
    "energy_delivered_watt_hours",
    "location",
    "cost",
    "currency",
    "total_co2_grams",
    "co2_intensity_grams_per_kilowatt_hour",
    "co2_intensity_classification",
    "duration_minutes",
    "grid_energy_delivered_watt_hours",
    "solar_energy_delivered_watt_hours",
];

/// Chooses records for every kind, spread over the whole time, and no record twice.
pub(super) fn assign(drafts: &[Draft]) -> Vec<Option<Dirt>> {
    let mut kinds = vec![None; drafts.len()];
    let suitable: Vec<usize> = (0..drafts.len()).filter(|index| is_ordinary(&drafts[*index])).collect();
    let rounds = (suitable.len() / (RARITY * ALL.len())).max(1);
    let wanted = (rounds * ALL.len()).min(suitable.len());
    for turn in 0..wanted {
        kinds[suitable[turn * suitable.len() / wanted]] = Some(ALL[turn % ALL.len()]);
    }
    kinds
}

/// A finished charge at home with everything known leaves no doubt which dirt it got.
fn is_ordinary(draft: &Draft) -> bool {
    draft.end.is_some()
        && draft.vehicle.is_some()
        && draft.evse.is_some()
        && draft.pays == Pays::Tariff
        && draft.wh() >= 1000
}

impl Dirt {
    /// Changes what happened.
    pub(super) fn before(self, draft: &mut Draft) {
        match self {
            Self::ZeroEnergy => deliver(draft, 0),
            Self::SubMinute => {
                draft.end = Some(draft.start + 41);
                draft.slots.truncate(1);
                deliver(draft, 3);
            }
            Self::EndBeforeStart => {
                draft.end = Some(draft.start - 60);
                draft.slots.truncate(1);
                deliver(draft, 40);
            }
            Self::NullCost => draft.pays = Pays::Unknown,
            Self::Free => {
                draft.pays = Pays::Nothing;
                draft.slots.iter_mut().for_each(|slot| slot.price = 0);
            }
            Self::NullVehicle => draft.vehicle = None,
            Self::NullEvse => draft.evse = None,
            Self::NullBoth => (draft.vehicle, draft.evse) = (None, None),
            _ => {}
        }
    }

    /// Changes what is said about it.
    pub(super) fn after(self, row: &mut SubSession) {
        let record = &mut row.record;
        let mut locate = |field: &str, value: Value| record["location"][field] = value;
        match self {
            Self::NullCoordinates => locate("coordinates", Value::Null),
            Self::NullPostalCode => {
                locate("postal_code", Value::Null);
                locate("address_1", Value::Null);
            }
            Self::NullTimezone => locate("timezone", Value::Null),
            Self::NonAscii => locate("name", "Zuhause – Müllerstraße 7 🏡".into()),
            Self::Formula => locate("name", "=HYPERLINK(\"https://example.org\",\"Home\")".into()),
            Self::TerminalEscape => locate("name", "Home\u{1b}[31m\u{1b}]0;owned\u{7}".into()),
            Self::UnknownMode => drop(record.insert("mode".to_owned(), "GRID_SERVICES".into())),
            Self::UnknownLabel => drop(record.insert("labels".to_owned(), json!(["PRIMARY", "WINTER_PEAK"]))),
            Self::Minimal => {
                record.retain(|field, _| MINIMAL.contains(&field.as_str()));
                record["location"] = json!({ "name": "Home" });
            }
            Self::Fractions => {
                for (field, fraction) in [("start", ".225655Z"), ("end", ".004Z")] {
                    if let Some(Value::String(text)) = record.get_mut(field) {
                        *text = text.replace('Z', fraction);
                    }
                }
            }
            Self::ThousandTimes => {
                let energy = record["energy_delivered_watt_hours"].as_i64().unwrap_or_default();
                record["energy_delivered_watt_hours"] = (energy * 1000).into();
                row.flags.push(json!({ "name": "ENERGY_OVER_DELIVERY", "root_cause": "UNIT_OF_METER" }));
            }
            _ => {}
        }
    }
}

/// Leaves this much energy.
fn deliver(draft: &mut Draft, wh: i64) {
    rescale(&mut draft.slots, wh);
    for slot in &mut draft.slots {
        slot.active_seconds = slot.wh * 3600 / draft.watts;
    }
}
