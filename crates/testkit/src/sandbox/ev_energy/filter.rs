//! The filters of the sub-session listing.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    auth::Caller,
    data::{Account, MODES, SubSession},
    problem::Problem,
    view::id_in,
};
use crate::sandbox::query::Query;

/// Which sub-sessions are asked for. A parameter that is not known is ignored.
#[derive(Debug, Default)]
pub(super) struct Filter {
    start_gt: Option<Timestamp>,
    start_lt: Option<Timestamp>,
    end_gt: Option<Timestamp>,
    end_lt: Option<Timestamp>,
    finished: Option<bool>,
    mode: Option<String>,
    evse: Option<String>,
    vehicle: Option<String>,
    user: Option<String>,
    restricted_to: Option<String>,
    energy_gte: Option<i64>,
    energy_lte: Option<i64>,
}

impl Filter {
    /// Reads all parameters, and names every one that is wrong.
    pub(super) fn parse(query: &Query, caller: &Caller, account: &Account) -> Result<Self, Problem> {
        let mut fields = Fields { query, errors: Vec::new() };
        let filter = Self {
            start_gt: fields.moment("start__gt"),
            start_lt: fields.moment("start__lt"),
            end_gt: fields.moment("end__gt"),
            end_lt: fields.moment("end__lt"),
            finished: fields.boolean("is_finished"),
            mode: fields.read("mode", "Choose one of the modes.", |text| {
                MODES.contains(&text).then(|| text.to_owned())
            }),
            evse: fields.id("evse_id", "evse"),
            vehicle: fields.id("vehicle_id", "vhcl"),
            user: query.get("user_id").map(|id| match id {
                // An application is nobody; it gets the person it acts for, or the first of the account.
                "me" => caller.restricted_to().unwrap_or(account.first_user()).to_owned(),
                id => id.to_owned(),
            }),
            restricted_to: caller.restricted_to().map(ToOwned::to_owned),
            energy_gte: fields.integer("energy_delivered_watt_hours__gte"),
            energy_lte: fields.integer("energy_delivered_watt_hours__lte"),
        };
        if fields.errors.is_empty() { Ok(filter) } else { Err(Problem::fields(fields.errors)) }
    }

    /// Bounds of time are excluded, bounds of energy are included, and a missing end is neither before nor
    /// after anything.
    pub(super) fn admits(&self, row: &SubSession) -> bool {
        let (start, end) = (moment(row, "start"), moment(row, "end"));
        let energy = row.record.get("energy_delivered_watt_hours").and_then(Value::as_i64);
        let links_to = |field: &str, prefix: &str, wanted: &str| {
            let link = row.record.get(field).and_then(Value::as_str);
            link.and_then(|link| id_in(link, prefix)) == Some(wanted)
        };
        self.start_gt.is_none_or(|bound| start > Some(bound))
            && self.start_lt.is_none_or(|bound| start.is_some_and(|start| start < bound))
            && self.end_gt.is_none_or(|bound| end > Some(bound))
            && self.end_lt.is_none_or(|bound| end.is_some_and(|end| end < bound))
            && self.finished.is_none_or(|finished| finished == end.is_some())
            && self.mode.as_deref().is_none_or(|mode| row.record.get("mode") == Some(&mode.into()))
            && self.evse.as_deref().is_none_or(|id| links_to("evse", "evse", id))
            && self.vehicle.as_deref().is_none_or(|id| links_to("vehicle", "vhcl", id))
            && self.user.as_deref().is_none_or(|id| row.user == id)
            && self.restricted_to.as_deref().is_none_or(|id| row.user == id)
            && self.energy_gte.is_none_or(|bound| energy.is_some_and(|energy| energy >= bound))
            && self.energy_lte.is_none_or(|bound| energy.is_some_and(|energy| energy <= bound))
    }
}

fn moment(row: &SubSession, field: &str) -> Option<Timestamp> {
    row.record.get(field)?.as_str()?.parse().ok()
}

/// Reads parameters and collects what is wrong with them.
pub(super) struct Fields<'a> {
    query: &'a Query,
    errors: Vec<(&'static str, &'static str)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        Self { query, errors: Vec::new() }
    }

    /// What was read, unless something was wrong.
    pub(super) fn check<T>(self, value: T) -> Result<T, Problem> {
        if self.errors.is_empty() { Ok(value) } else { Err(Problem::fields(self.errors)) }
    }

    pub(super) fn moment(&mut self, name: &'static str) -> Option<Timestamp> {
        self.read(name, "Give a date, a time and an offset, as RFC 3339 writes them.", |text| {
            text.parse().ok()
        })
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "Give true or false.", |text| match text {
            "true" | "True" | "1" => Some(true),
            "false" | "False" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        self.read(name, "Give a whole number.", |text| text.parse().ok())
    }

    fn id(&mut self, name: &'static str, prefix: &str) -> Option<String> {
        self.read(name, "Give an id.", |text| (id_in(text, prefix) == Some(text)).then(|| text.to_owned()))
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        reason: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        let text = self.query.get(name)?;
        let value = parse(text);
        if value.is_none() {
            self.errors.push((name, reason));
        }
        value
    }
}
