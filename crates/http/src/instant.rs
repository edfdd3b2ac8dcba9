//! Instants in forms that are met besides RFC 3339.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// An instant of a provider that means UTC where it names no zone, and may leave out zeros: `2026-06-01T20:00:00`,
/// `1970-1-1T0:00:00Z`. `None` if it is no instant even so.
///
/// ```
/// use charging_sessions_http::utc;
///
/// let meant = "2026-06-01T20:00:00Z".parse().ok();
/// for text in ["2026-06-01T20:00:00", "2026-6-1 20:00:0", "2026-06-01T22:00:00+02:00"] {
///     assert_eq!(utc(text), meant, "{text}");
/// }
/// assert_eq!(utc("yesterday"), None);
/// ```
pub fn utc(text: &str) -> Option<Timestamp> {
    read(text).or_else(|| read(&padded(text)?))
}

fn read(text: &str) -> Option<Timestamp> {
    let naive = || Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse().ok().or_else(naive)
}

/// The text with the zeros it lacks.
fn padded(text: &str) -> Option<String> {
    let (date, time) = text.split_once(['T', ' '])?;
    let (clock, zone) = time.split_at(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()));
    let pad = |text: &str, mark: &str| {
        text.split(mark).map(|part| format!("{part:0>2}")).collect::<Vec<_>>().join(mark)
    };
    Some(format!("{}T{}{zone}", pad(date, "-"), pad(clock, ":")))
}
