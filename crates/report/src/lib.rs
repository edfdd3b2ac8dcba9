//! From records of charging sessions to what people look at: sums, reports and files.
//!
//! Everything here is a pure function of the records, a time zone and what the caller asks for; the same records give
//! the same document. Nothing is read, nothing is asked, and what is written goes to a [`Write`](std::io::Write).
//!
//! | question | answer |
//! |---|---|
//! | which of the records that tell of one charge counts | [`Choice`] and the rule in its documentation |
//! | in which month or day does a session belong | [`BucketRule`] and [`Period`] |
//! | how good is the evidence for a figure | [`Grade`] |
//! | what does it add up to | [`Summary`] |
//! | a page for people | [`Ledger`], and [`monthly`], [`reimbursement`] and [`emissions`] of it |
//! | a file for programs | [`export`] |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod bucket;
mod choice;
mod evidence;
pub mod export;
mod ledger;
mod pages;
mod period;
mod record;
mod sums;
mod text;

pub use bucket::{BucketRule, Width};
pub use choice::{Choice, Choosing, Reason, Standing, Why};
pub use evidence::Grade;
pub use ledger::{Entry, Ledger, LedgerBuilder, LeftOut};
pub use pages::{Context, emissions, monthly, reimbursement};
pub use period::{InvalidPeriod, Period};
pub use record::Record;
pub use sums::{GroupBy, Sum, SumRule, Summary};
pub use text::{formula_safe, visible};
