//! Words from providers are hostile until shown to be words.

pub(crate) use charging_sessions_report::{formula_safe as cell, visible};
