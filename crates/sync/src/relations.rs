//! What is odd about records side by side. Nothing is ever deleted or merged for it.

use std::collections::{HashMap, HashSet};

use charging_sessions_core::{
    ChargingSession, Energy, Issue, IssueCode, LocationCategory, Percent, RelationKind, SessionKey, Severity,
};
use jiff::{SignedDuration, Timestamp};

/// Records of one provider may overlap by this much, because clocks differ.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// Duplicates begin within this much of each other.
const SAME_START: SignedDuration = SignedDuration::from_secs(60);
/// The same charge begins within this much of each other with two providers, or overlaps.
const NEAR: SignedDuration = SignedDuration::from_mins(10);

/// A meter may move by this much between two records, in milliwatt-hours: what stands by needs something, too.
const GAP: i128 = 1_000_000;

/// Something odd about a record beside another, which is in [`Issue::related`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The later of the two records.
    pub key: SessionKey,
    /// What was found.
    pub issue: Issue,
    /// For [`IssueCode::REL_SAME_CHARGE`], how much of the larger energy the smaller one is.
    pub alike: Option<Percent>,
}

/// What is odd about `sessions` side by side. Pure: the same records give the same answer, in any order.
///
/// Records without a start are left out, because they cannot be placed, except as credits. A credit is told if what it
/// is for is not among `sessions`: whoever gives a part of an account has to look for it in the rest.
///
/// | code | severity | when |
/// |---|---|---|
/// | [`IssueCode::REL_OVERLAP`] | warning | same account and kind, same vehicle or plug, at the same time for more than 2 minutes |
/// | [`IssueCode::REL_DUPLICATE`] | warning | the same, but the starts within 60 seconds and the energy within 1 % |
/// | [`IssueCode::REL_CARRY_OVER`] | warning | next at the same vehicle or plug, not unplugged in between, no less energy, and the meter began where it began before, or moved by less than half the energy |
/// | [`IssueCode::REL_SAME_CHARGE`] | info | other providers, nothing known against it, overlapping by 80 % of the shorter or starting within 10 minutes, energy no more than a quarter apart |
/// | [`IssueCode::REL_REGISTER_GAP`] | info | next at the same plug, or of the same meter, whose register begins more than 1 kWh after where it ended |
/// | [`IssueCode::REL_CREDIT_UNMATCHED`] | warning | [credits](RelationKind::Credits) a record that is not there |
pub fn relations<'a>(sessions: impl IntoIterator<Item = &'a ChargingSession>) -> Vec<Finding> {
    let sessions: Vec<&ChargingSession> = sessions.into_iter().collect();
    let keys: HashSet<_> = sessions.iter().map(|session| session.key()).collect();
    let place = |session: &&'a ChargingSession| Some((session.timing.period.start?, *session));
    let mut ordered: Vec<(Timestamp, &ChargingSession)> = sessions.iter().filter_map(place).collect();
    ordered.sort_by(|one, other| (one.0, one.1.key()).cmp(&(other.0, other.1.key())));
    let mut found = Vec::new();
    let mut current: Vec<&ChargingSession> = Vec::new();
    let mut latest: HashMap<_, &ChargingSession> = HashMap::new();
    let mut metered: HashMap<_, &ChargingSession> = HashMap::new();
    for (start, session) in ordered {
        current.retain(|before| is_near(before, start));
        for before in &current {
            if let Some((code, severity)) = beside(before, session) {
                found.push(finding(before, session, code, severity));
            }
        }
        current.push(session);
        let key = session.key();
        for place in places(session) {
            let before = latest.insert((key.provider, &key.account, key.kind, place), session);
            if let Some(before) = before.filter(|before| is_carried_over(before, session)) {
                let carried = finding(before, session, IssueCode::REL_CARRY_OVER, Severity::Warning);
                // The same vehicle at the same plug is one finding.
                if found.last() != Some(&carried) {
                    found.push(carried);
                }
            }
        }
        if let Some(meter) = meter(session) {
            let before = metered.insert((key.provider, &key.account, key.kind, meter), session);
            if let Some(before) = before.filter(|before| is_register_gap(before, session)) {
                found.push(finding(before, session, IssueCode::REL_REGISTER_GAP, Severity::Info));
            }
        }
    }
    let mut credits: Vec<_> = sessions.iter().flat_map(|session| unmatched(session, &keys)).collect();
    credits.sort_by(|one, other| (&one.key, &one.issue.related).cmp(&(&other.key, &other.issue.related)));
    found.extend(credits);
    found
}

/// Credits for records that are not there.
fn unmatched<'a>(
    session: &'a ChargingSession,
    keys: &HashSet<&SessionKey>,
) -> impl Iterator<Item = Finding> + 'a {
    let credits = session.identity.related.iter().filter(|it| it.kind == RelationKind::Credits);
    let missing: Vec<_> = credits.filter(|it| !keys.contains(&it.key)).collect();
    missing.into_iter().map(|missing| {
        let mut issue = Issue::new(IssueCode::REL_CREDIT_UNMATCHED, Severity::Warning);
        issue.related = vec![missing.key.clone()];
        Finding { key: session.key().clone(), issue, alike: None }
    })
}

/// What counts the energy of a record: the meter that it names, or else the plug. A vehicle has none.
fn meter(session: &ChargingSession) -> Option<(&'static str, &str, Option<&str>)> {
    let named = session.energy.registers.meter_id.as_deref().map(|meter| ("meter", meter, None));
    named.or_else(|| places(session).into_iter().find(|(what, ..)| what.starts_with("plug")))
}

/// Whether the register has moved on between two records. One that has moved back is another meter, or a reset.
fn is_register_gap(before: &ChargingSession, session: &ChargingSession) -> bool {
    let registers = before.energy.registers.end.zip(session.energy.registers.start);
    let moved = registers.map(|(end, start)| i128::from(start.as_mwh()) - i128::from(end.as_mwh()));
    before.key() != session.key() && moved.is_some_and(|moved| moved > GAP)
}

fn finding(
    before: &ChargingSession,
    session: &ChargingSession,
    code: IssueCode,
    severity: Severity,
) -> Finding {
    let alike = (code == IssueCode::REL_SAME_CHARGE).then(|| ratio(before, session)).flatten();
    let mut issue = Issue::new(code, severity);
    issue.related = vec![before.key().clone()];
    let alike = alike.and_then(|percent| i64::try_from(percent).ok()).map(Percent::from);
    Finding { key: session.key().clone(), issue, alike }
}

/// Whether what starts at `instant` may have to do with `before`.
fn is_near(before: &ChargingSession, instant: Timestamp) -> bool {
    let period = &before.timing.period;
    period.end.max(period.start).is_some_and(|end| instant.duration_since(end) <= NEAR)
}

fn beside(before: &ChargingSession, session: &ChargingSession) -> Option<(IssueCode, Severity)> {
    let (one, other) = (before.key(), session.key());
    if one.provider != other.provider {
        return is_same_charge(before, session).then_some((IssueCode::REL_SAME_CHARGE, Severity::Info));
    }
    if (&one.account, one.kind) != (&other.account, other.kind)
        || one == other
        || !is_same_place(before, session)
        || names(before, other)
        || names(session, one)
    {
        return None;
    }
    let apart = session.timing.period.start?.duration_since(before.timing.period.start?);
    if apart <= SAME_START && ratio(before, session).is_some_and(|ratio| ratio >= 99) {
        return Some((IssueCode::REL_DUPLICATE, Severity::Warning));
    }
    (overlap(before, session)? > SKEW).then_some((IssueCode::REL_OVERLAP, Severity::Warning))
}

/// Whether a record says itself what it has to do with the other, as one does that takes it back.
fn names(session: &ChargingSession, other: &SessionKey) -> bool {
    session.identity.related.iter().any(|relation| relation.key == *other)
}

/// What a record was plugged into, and what was plugged in: by identifier, or by name where a provider has names only.
fn places(session: &ChargingSession) -> Vec<(&'static str, &str, Option<&str>)> {
    fn one<'a>(
        what: [&'static str; 2],
        id: Option<&'a String>,
        name: Option<&'a String>,
    ) -> Option<(&'static str, &'a str)> {
        let [by_id, by_name] = what;
        id.map(|id| (by_id, id.as_str())).or_else(|| name.map(|name| (by_name, name.as_str())))
    }
    let (vehicle, plug) = (session.parties.vehicle.as_ref(), session.parties.charge_point.as_ref());
    let vehicle = vehicle.and_then(|vehicle| {
        let (what, which) =
            one(["vehicle", "vehicle's name"], vehicle.source_id.as_ref(), vehicle.name.as_ref())?;
        Some((what, which, None))
    });
    let plug = plug.and_then(|plug| {
        let (what, which) = one(["plug", "plug's name"], plug.source_id.as_ref(), plug.name.as_ref())?;
        Some((what, which, plug.connector_id.as_deref()))
    });
    vehicle.into_iter().chain(plug).collect()
}

fn is_same_place(one: &ChargingSession, other: &ChargingSession) -> bool {
    places(one).iter().any(|place| places(other).contains(place))
}

/// How long two records were at the same time, if both have ended.
fn overlap(one: &ChargingSession, other: &ChargingSession) -> Option<SignedDuration> {
    let (one, other) = (&one.timing.period, &other.timing.period);
    Some(one.end?.min(other.end?).duration_since(one.start?.max(other.start?)))
}

/// The smaller energy in percent of the larger one.
fn ratio(one: &ChargingSession, other: &ChargingSession) -> Option<i128> {
    let (one, other) = (one.energy.headline()?, other.energy.headline()?);
    let (less, more) = (one.min(other), one.max(other));
    (less > Energy::ZERO).then(|| i128::from(less.as_mwh()) * 100 / i128::from(more.as_mwh()))
}

fn is_carried_over(before: &ChargingSession, session: &ChargingSession) -> bool {
    let Some((earlier, energy)) = before.energy.headline().zip(session.energy.headline()) else {
        return false;
    };
    let start = session.timing.period.start;
    let unplugged = before.timing.unplugged_at.is_some_and(|unplugged| Some(unplugged) < start);
    let (was, is) = (&before.energy.registers, &session.energy.registers);
    let began_there = is.start.is_some() && is.start == was.start;
    let moved =
        is.end.zip(is.start).map(|(end, start)| i128::from(end.as_mwh()) - i128::from(start.as_mwh()));
    let hardly_moved = moved.is_some_and(|moved| moved * 2 < i128::from(energy.as_mwh()));
    before.key() != session.key()
        && !unplugged
        && earlier > Energy::ZERO
        && energy >= earlier
        && (began_there || hardly_moved)
}

fn is_same_charge(one: &ChargingSession, other: &ChargingSession) -> bool {
    fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other)
    }
    fn vin(session: &ChargingSession) -> Option<&str> {
        Some(session.parties.vehicle.as_ref()?.vin.as_ref()?.expose())
    }
    fn evse(session: &ChargingSession) -> Option<&str> {
        session.parties.charge_point.as_ref()?.evse_id.as_deref()
    }
    fn is_home(session: &ChargingSession) -> Option<bool> {
        Some(session.place.location.as_ref()?.category? == LocationCategory::Home)
    }
    if differ(vin(one), vin(other)) || differ(evse(one), evse(other)) || differ(is_home(one), is_home(other))
    {
        return false;
    }
    let lasted = |session: &ChargingSession| {
        let period = &session.timing.period;
        Some(period.end?.duration_since(period.start?))
    };
    let shorter = lasted(one).zip(lasted(other)).map(|(one, other)| one.min(other));
    let together = overlap(one, other).zip(shorter).is_some_and(|(both, shorter)| {
        both > SignedDuration::ZERO && both.as_millis() * 5 >= shorter.as_millis() * 4
    });
    let starts = one.timing.period.start.zip(other.timing.period.start);
    let near = starts.is_some_and(|(one, other)| one.duration_since(other).abs() <= NEAR);
    (together || near) && ratio(one, other).is_some_and(|ratio| ratio >= 75)
}

#[cfg(test)]
mod tests {
    use charging_sessions_core::{
        AccountId, ChargePoint, Endpoint, EnergyReading, MeasuringPoint, Provenance, ProviderId, RecordKind,
        Relation, SessionStatus, Vehicle,
    };

    use super::*;

    fn session(provider: &'static str, id: &str, start: &str, end: &str, kwh: i64) -> ChargingSession {
        let key = SessionKey::new(ProviderId::new(provider), AccountId::default(), RecordKind::PlugIn, id);
        let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
        let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
        let at = |time: &str| Some(format!("2026-06-01T{time}Z").parse().unwrap());
        (session.timing.period.start, session.timing.period.end) = (at(start), at(end));
        session.parties.vehicle = Some(Vehicle::of("car"));
        session.energy.readings =
            vec![EnergyReading::import(Energy::from_mwh(kwh * 1_000_000), MeasuringPoint::Unknown)];
        session
    }

    fn found(sessions: &[ChargingSession]) -> Vec<String> {
        let show = |found: Finding| {
            format!("{} {} {}", found.key.source_id, found.issue.code, found.issue.related[0].source_id)
        };
        let shown: Vec<_> = relations(sessions).into_iter().map(show).collect();
        assert_eq!(shown, relations(sessions.iter().rev()).into_iter().map(show).collect::<Vec<_>>());
        shown
    }

    #[test]
    fn one_vehicle_is_at_one_place() {
        let a = session("one", "a", "10:00:00", "12:00:00", 20);
        let overlapping = session("one", "b", "11:57:00", "13:00:00", 5);
        assert_eq!(found(&[a.clone(), overlapping.clone()]), ["b rel.overlap a"]);
        let mut elsewhere = overlapping.clone();
        elsewhere.parties.vehicle = Some(Vehicle::of("another car"));
        assert!(found(&[a.clone(), elsewhere]).is_empty());
        let mut part = overlapping;
        part.identity.key.kind = RecordKind::Segment;
        assert!(found(&[a.clone(), part]).is_empty());
        assert!(found(&[a, session("one", "b", "11:58:30", "13:00:00", 5)]).is_empty());
    }

    #[test]
    fn a_name_tells_vehicles_apart_where_there_is_nothing_else() {
        let named = |id, name: &str| {
            let mut session = session("one", id, "10:00:00", "12:00:00", 20);
            let mut vehicle = Vehicle::default();
            vehicle.name = Some(name.to_owned());
            session.parties.vehicle = Some(vehicle);
            session
        };
        assert_eq!(found(&[named("a", "Estate"), named("b", "Estate")]), ["b rel.duplicate a"]);
        assert!(found(&[named("a", "Estate"), named("b", "Van")]).is_empty());
        // A name says nothing beside an identifier.
        let mut known = named("b", "Estate");
        known.parties.vehicle.as_mut().unwrap().source_id = Some("Estate".into());
        assert!(found(&[named("a", "Estate"), known]).is_empty());
    }

    #[test]
    fn the_same_record_under_two_names_is_a_duplicate() {
        let a = session("one", "a", "10:00:00", "12:00:00", 200);
        assert_eq!(
            found(&[a.clone(), session("one", "b", "10:01:00", "12:00:00", 199)]),
            ["b rel.duplicate a"]
        );
        assert_eq!(found(&[a, session("one", "b", "10:01:00", "12:00:00", 190)]), ["b rel.overlap a"]);
    }

    #[test]
    fn energy_that_is_counted_twice_is_found() {
        let mut a = session("one", "a", "10:00:00", "12:00:00", 20);
        let mut b = session("one", "b", "13:00:00", "14:00:00", 25);
        let meter = |kwh: i64| Some(Energy::from_mwh(kwh * 1_000_000));
        assert!(found(&[a.clone(), b.clone()]).is_empty(), "nothing is known of the meter");
        (a.energy.registers.start, a.energy.registers.end) = (meter(100), meter(120));
        (b.energy.registers.start, b.energy.registers.end) = (meter(120), meter(125));
        assert_eq!(found(&[a.clone(), b.clone()]), ["b rel.carry_over a"]);
        b.energy.registers.end = meter(145);
        assert!(found(&[a.clone(), b.clone()]).is_empty());
        b.energy.registers.start = meter(100);
        assert_eq!(found(&[a.clone(), b.clone()]), ["b rel.carry_over a"]);
        a.timing.unplugged_at = a.timing.period.end;
        assert!(found(&[a, b]).is_empty());
    }

    #[test]
    fn a_meter_that_has_moved_on_tells_of_a_record_that_is_missing() {
        let meter = |kwh: i64| Some(Energy::from_mwh(kwh * 1_000_000));
        let at_plug = |id, start, end, from, to| {
            let mut session = session("one", id, start, end, to - from);
            session.parties.charge_point = Some(ChargePoint::of("plug"));
            (session.energy.registers.start, session.energy.registers.end) = (meter(from), meter(to));
            session
        };
        let a = at_plug("a", "10:00:00", "11:00:00", 100, 120);
        assert!(found(&[a.clone(), at_plug("b", "12:00:00", "13:00:00", 121, 130)]).is_empty());
        let b = at_plug("b", "12:00:00", "13:00:00", 122, 130);
        assert_eq!(found(&[a.clone(), b.clone()]), ["b rel.register_gap a"]);
        assert!(found(&[a.clone(), at_plug("b", "12:00:00", "13:00:00", 3, 30)]).is_empty(), "another meter");
        let mut replaced = b.clone();
        replaced.energy.registers.meter_id = Some("new".into());
        assert!(found(&[a.clone(), replaced]).is_empty());
        // The meter of a vehicle's records is that of wherever it was.
        let mut elsewhere = b;
        elsewhere.parties.charge_point = Some(ChargePoint::of("another"));
        assert!(found(&[a, elsewhere]).is_empty());
    }

    #[test]
    fn a_credit_belongs_to_a_record() {
        let a = session("one", "a", "10:00:00", "11:00:00", 20);
        let mut credit = session("one", "credit", "18:00:00", "19:00:00", 20);
        credit.identity.related.push(Relation::new(a.key().clone(), RelationKind::Credits));
        assert!(found(&[a, credit.clone()]).is_empty());
        credit.timing.period.start = None;
        assert_eq!(found(&[credit]), ["credit rel.credit_unmatched a"]);
    }

    #[test]
    fn two_providers_may_tell_of_the_same_charge() {
        let a = session("one", "a", "10:00:00", "18:00:00", 20);
        let b = session("two", "b", "12:00:00", "14:00:00", 17);
        assert_eq!(found(&[a.clone(), b.clone()]), ["b rel.same_charge a"]);
        assert!(found(&[a.clone(), session("two", "b", "12:00:00", "14:00:00", 14)]).is_empty());
        assert!(found(&[a.clone(), session("two", "b", "17:00:00", "19:00:00", 20)]).is_empty());
        assert_eq!(
            found(&[a.clone(), session("two", "b", "10:09:00", "10:10:00", 20)]),
            ["b rel.same_charge a"]
        );
        let (mut mine, mut yours) = (a, b);
        mine.parties.vehicle.as_mut().unwrap().vin = Some("VIN1".to_owned().into());
        yours.parties.vehicle.as_mut().unwrap().vin = Some("VIN2".to_owned().into());
        assert!(found(&[mine, yours]).is_empty());
    }
}
