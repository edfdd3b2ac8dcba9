//! Reports for people: one page of HTML each that needs nothing else, and the same rows for a spreadsheet.

mod chart;
mod common;
pub mod emissions;
pub mod monthly;
pub mod reimbursement;

pub use common::Context;
