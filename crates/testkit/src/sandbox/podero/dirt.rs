//! What is wrong with real data.

use serde_json::{Map, Value};

use super::data::{Draft, Kind, OPTIMIZED, time};

const DAY: i64 = 86_400;

/// One thing that is wrong with one record, or at least unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirt {
    UnknownOutcome,
    UnknownHiddenReason,
    FloatNoise,
    SocAbove100,
    EndBeforeStart,
    NegativeCost,
    FirstInstant,
    LastInstant,
    Fractions,
    Offset,
}

const ALL: [Dirt; 10] = [
    Dirt::UnknownOutcome,
    Dirt::UnknownHiddenReason,
    Dirt::FloatNoise,
    Dirt::SocAbove100,
    Dirt::EndBeforeStart,
    Dirt::NegativeCost,
    Dirt::FirstInstant,
    Dirt::LastInstant,
    Dirt::Fractions,
    Dirt::Offset,
];

/// About one ordinary record in this many is dirty, but each kind comes at least once.
const RARITY: usize = 9;

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

/// A night at home that went as planned leaves no doubt which dirt it got.
fn is_ordinary(draft: &Draft) -> bool {
    draft.kind == Kind::Ordinary && draft.outcome == OPTIMIZED && draft.end > midnight(draft) + 3600
}

/// The midnight UTC after the plug-in.
fn midnight(draft: &Draft) -> i64 {
    (draft.start.div_euclid(DAY) + 1) * DAY
}

impl Dirt {
    /// Changes what happened.
    pub(super) fn before(self, draft: &mut Draft) {
        match self {
            Self::FirstInstant => draft.start = midnight(draft),
            Self::LastInstant => draft.start = midnight(draft) - 1,
            _ => {}
        }
    }

    /// Changes what is said about it.
    pub(super) fn after(self, plug_in: i64, record: &mut Map<String, Value>) {
        let mut set = |field: &str, value: Value| drop(record.insert(field.to_owned(), value));
        match self {
            Self::UnknownOutcome => set("session_outcome", "grid_event_paused".into()),
            Self::UnknownHiddenReason => {
                set("is_hidden", true.into());
                set("hidden_reason", "merged_into_other".into());
            }
            // The neighbours of numbers that have three and two decimals.
            Self::FloatNoise => {
                set("energy_charged_kwh", f64::from_bits(12.3_f64.to_bits() - 1).into());
                set("actual_cost_eur", f64::from_bits(3.45_f64.to_bits() + 1).into());
            }
            Self::SocAbove100 => set("final_soc_pct", 100.5.into()),
            Self::EndBeforeStart => {
                set("unplug_time", time(plug_in - 60).into());
                set("inferred_session_end", Value::Null);
                set("energy_charged_kwh", 0.04.into());
            }
            Self::NegativeCost => set("actual_cost_eur", (-0.83).into()),
            Self::FirstInstant => {}
            Self::LastInstant => rewrite(record, "plug_in_time", ".999999Z"),
            Self::Fractions => {
                rewrite(record, "plug_in_time", ".225655Z");
                rewrite(record, "unplug_time", ".004Z");
            }
            Self::Offset => rewrite(record, "plug_in_time", "+00:00"),
        }
    }
}

/// Puts another end on a moment in place of its `Z`.
fn rewrite(record: &mut Map<String, Value>, field: &str, end: &str) {
    if let Some(Value::String(text)) = record.get_mut(field) {
        *text = text.replace('Z', end);
    }
}
