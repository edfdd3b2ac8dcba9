//! What is wrong with real data.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{account::Kind, data::Draft};

/// One thing that is wrong with one record, or at least unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirt {
    WattHours,
    Watts,
    UnknownUnit,
    TiersOff,
    NoCharge,
    NullPower,
    CreatedEarly,
    SpacedMoments,
}

const ALL: [Dirt; 8] = [
    Dirt::WattHours,
    Dirt::Watts,
    Dirt::UnknownUnit,
    Dirt::TiersOff,
    Dirt::NoCharge,
    Dirt::NullPower,
    Dirt::CreatedEarly,
    Dirt::SpacedMoments,
];

/// Chooses one record for every kind, spread over everything, and no record twice.
pub(super) fn assign(drafts: &[Draft]) -> Vec<Option<Dirt>> {
    let mut kinds = vec![None; drafts.len()];
    let wanted = ALL.len().min(drafts.len());
    for (turn, kind) in ALL.into_iter().take(wanted).enumerate() {
        // Not the first of all, which a test may want to look at.
        let mut place = (2 * turn + 1) * drafts.len() / (2 * wanted);
        if kind == Dirt::TiersOff {
            // Only a meter has tiers.
            let free = |index: &usize| drafts[*index].kind == Kind::ChargePoint && kinds[*index].is_none();
            place = (0..drafts.len()).rev().find(free).unwrap_or(place);
        }
        kinds[place] = Some(kind);
    }
    kinds
}

impl Dirt {
    /// Changes what is said about a session.
    pub(super) fn soil(self, record: &mut Map<String, Value>) {
        let end = record["data"]["end"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
        let data = &mut record["data"];
        match self {
            Self::WattHours => rescale(&mut data["charge"]["total"], "Wh", 1000.0),
            Self::Watts => rescale(&mut data["charge"]["averagePower"], "W", 1000.0),
            Self::UnknownUnit => data["charge"]["total"]["unit"] = "MWh?".into(),
            Self::TiersOff => {
                let total = &mut data["charge"]["total"];
                total["t1"] = 1.25.into();
                total["t2"] = 0.5.into();
            }
            Self::NoCharge => {
                if let Value::Object(data) = data {
                    data.remove("charge");
                }
            }
            Self::NullPower => data["charge"]["averagePower"] = Value::Null,
            Self::CreatedEarly => {
                let early = end.map(|end| end - SignedDuration::from_mins(3));
                record.insert("created".to_owned(), early.map(|early| format!("{early:.0}")).into());
            }
            Self::SpacedMoments => {
                for field in ["start", "end"] {
                    if let Value::String(text) = &mut data[field] {
                        *text = text.replace('T', " ");
                    }
                }
            }
        }
    }
}

/// Says the same in a smaller unit.
fn rescale(measure: &mut Value, unit: &str, factor: f64) {
    for field in ["t1", "t2", "t3", "t4", "total", "value"] {
        if let Some(number) = measure.get(field).and_then(Value::as_f64) {
            // Tenths are all that is left after the decimals of the larger unit.
            measure[field] = ((number * factor * 10.0).round() / 10.0).into();
        }
    }
    measure["unit"] = unit.into();
}
