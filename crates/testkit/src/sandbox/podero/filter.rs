//! The parameters of the session listing.

use jiff::{civil::Date, tz::TimeZone};

use super::{
    data::Session,
    problem::{Invalid, Problem},
};
use crate::sandbox::query::Query;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// What is listed, and which part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    from: Date,
    to: Date,
    include_hidden: bool,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Filter {
    /// Names every parameter that cannot be used, not only the first.
    pub(super) fn parse(query: &Query) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(query);
        let (from, to) = (parameters.day("from"), parameters.day("to"));
        let limit = parameters.number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT);
        let offset = parameters.number("offset", 0, 0, usize::MAX);
        let include_hidden = parameters.boolean("include_hidden");
        match (from, to) {
            (Some(from), Some(to)) => parameters.check(Self { from, to, include_hidden, limit, offset }),
            _ => Err(Problem::invalid(parameters.errors)),
        }
    }

    pub(super) fn admits(&self, session: &Session) -> bool {
        let day = TimeZone::UTC.to_datetime(session.plug_in).date();
        (self.from..=self.to).contains(&day) && (self.include_hidden || !session.is_hidden())
    }
}

/// Reads parameters and notes what is wrong with them.
pub(super) struct Parameters<'a> {
    query: &'a Query,
    errors: Vec<Invalid>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        Self { query, errors: Vec::new() }
    }

    /// Gives `value` if nothing was wrong so far.
    pub(super) fn check<T>(self, value: T) -> Result<T, Problem> {
        if self.errors.is_empty() { Ok(value) } else { Err(Problem::invalid(self.errors)) }
    }

    fn wrong(&mut self, parameter: &'static str, kind: &'static str, message: &'static str) {
        self.errors.push(Invalid { parameter, kind, message });
    }

    fn day(&mut self, name: &'static str) -> Option<Date> {
        let Some(text) = self.query.get(name) else {
            self.wrong(name, "missing", "This parameter is required.");
            return None;
        };
        // The parser takes more than the ten characters that are documented.
        let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day = text.parse().ok().filter(|_| is_plain);
        if day.is_none() {
            self.wrong(name, "date_parsing", "This is no day of the form YYYY-MM-DD.");
        }
        day
    }

    fn number(&mut self, name: &'static str, default: usize, least: usize, most: usize) -> usize {
        let Some(text) = self.query.get(name) else {
            return default;
        };
        let Ok(number) = text.parse::<i64>() else {
            self.wrong(name, "int_parsing", "This is no whole number.");
            return default;
        };
        match usize::try_from(number) {
            Ok(number) if number > most => {
                self.wrong(name, "less_than_equal", "This is more than is allowed.");
            }
            Ok(number) if number >= least => return number,
            _ => self.wrong(name, "greater_than_equal", "This is less than is allowed."),
        }
        default
    }

    /// False if it is not there.
    pub(super) fn boolean(&mut self, name: &'static str) -> bool {
        let text = self.query.get(name).map(str::to_ascii_lowercase);
        match text.as_deref() {
            Some("true" | "1") => return true,
            None | Some("false" | "0") => {}
            Some(_) => self.wrong(name, "bool_parsing", "This is neither true nor false."),
        }
        false
    }
}
