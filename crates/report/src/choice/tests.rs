//! Which records count, in energy and in cost.

use charging_sessions_core::{
    Cost, CostBasis, Endpoint, Energy, EnergyReading, Issue, IssueCode, MeasuringPoint, Money, Provenance,
    Relation, Severity, Vehicle,
};

use super::*;

/// 10 kWh for 3 EUR from 20:00 to 23:00 UTC on 10 October 2026, of the account `default` of a provider `x`.
pub(crate) fn session(id: &str) -> ChargingSession {
    of_kind(RecordKind::PlugIn, id)
}

pub(crate) fn of_kind(kind: RecordKind, id: &str) -> ChargingSession {
    let key = SessionKey::new(ProviderId::new("x"), AccountId::default(), kind, id);
    let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
    let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
    at(&mut session, "2026-10-10T20:00:00Z", "2026-10-10T23:00:00Z");
    energy(&mut session, 10_000);
    cost(&mut session, "3");
    session
}

pub(crate) fn at(session: &mut ChargingSession, start: &str, end: &str) {
    session.timing.period.start = start.parse().ok();
    session.timing.period.end = end.parse().ok();
}

pub(crate) fn energy(session: &mut ChargingSession, wh: i64) {
    let reading = EnergyReading::import(Energy::from_wh(wh).unwrap(), MeasuringPoint::EvseOutput);
    session.energy.readings = vec![reading];
}

pub(crate) fn cost(session: &mut ChargingSession, amount: &str) {
    let money = Money::new(amount.parse().unwrap(), Currency::parse("EUR").unwrap());
    session.costs.cost = Some(Cost::new(money, CostBasis::Unknown));
}

fn related(mut session: ChargingSession, kind: RelationKind, other: &ChargingSession) -> ChargingSession {
    session.identity.related.push(Relation::new(other.key().clone(), kind));
    session
}

/// A bill of a session, for so much energy at such a cost.
fn bill(id: &str, of: Option<&ChargingSession>, wh: i64, amount: &str) -> ChargingSession {
    let mut bill = of_kind(RecordKind::BillingRecord, id);
    bill.identity.parent = of.map(|of| of.key().clone());
    energy(&mut bill, wh);
    cost(&mut bill, amount);
    bill
}

/// A credit repeats all figures of the bill, and takes its cost back.
fn credit(id: &str, of: &ChargingSession, amount: &str) -> ChargingSession {
    let mut credit = bill(id, None, 0, amount);
    credit.identity.parent.clone_from(&of.identity.parent);
    credit.energy = of.energy.clone();
    related(credit, RelationKind::Credits, of)
}

/// The sums, and the standing of each record that does not simply count. In every order of the records.
fn chosen(sessions: &[&ChargingSession]) -> (String, String, Vec<String>) {
    let mut answers = Vec::new();
    for turn in 0..sessions.len() {
        let mut records: Vec<_> = sessions.iter().map(|session| Record::new((*session).clone())).collect();
        records.rotate_left(turn);
        answers.push(sums(&records));
        records.reverse();
        answers.push(sums(&records));
    }
    let first = answers.remove(0);
    assert!(answers.iter().all(|answer| *answer == first), "the order matters: {first:?} {answers:?}");
    first
}

fn sums(records: &[Record]) -> (String, String, Vec<String>) {
    let choice = Choice::of(records);
    let (mut energy, mut cost, mut remarks) = (Energy::ZERO, Decimal::ZERO, Vec::new());
    for record in records {
        let standing = choice.standing(record.session.key());
        if standing.energy() {
            energy = [energy].into_iter().chain(record.session.energy.headline()).sum();
        }
        if standing.cost() {
            cost += record.session.costs.cost.as_ref().unwrap().money.amount;
        }
        if let Some(why) = standing.why() {
            remarks.push(format!(
                "{} {} {:?}",
                record.session.key().source_id,
                standing.as_str(),
                why.reason
            ));
        }
    }
    remarks.sort();
    (energy.to_string(), cost.normalize().to_string(), remarks)
}

fn is(sessions: &[&ChargingSession], kwh: &str, cost: &str, remarks: &[&str]) {
    let (energy, sum, found) = chosen(sessions);
    assert_eq!((energy.as_str(), sum.as_str()), (kwh, cost), "{found:?}");
    assert_eq!(found, remarks);
}

#[test]
fn a_session_and_its_bill_are_one_charge_and_the_bill_is_right() {
    let session = session("s");
    let bill = bill("b", Some(&session), 10_200, "3.50");
    is(&[&session, &bill], "10.2 kWh", "3.5", &["s no Billed"]);
}

#[test]
fn session_bill_credit_and_corrected_bill_are_one_charge() {
    let session = session("s");
    let first = bill("b1", Some(&session), 10_200, "3.50");
    let credit = credit("c", &first, "-3.50");
    let second = bill("b2", Some(&session), 9_800, "3.30");
    is(
        &[&session, &first, &credit, &second],
        "9.8 kWh",
        "3.3",
        &["b1 cost_only Credited", "c cost_only Credit", "s no Billed"],
    );
    // The same without the session, and where the new bill says that it corrects the old one.
    is(&[&first, &credit, &second], "9.8 kWh", "3.3", &["b1 cost_only Credited", "c cost_only Credit"]);
    let second = related(second, RelationKind::Corrects, &first);
    is(
        &[&session, &first, &credit, &second],
        "9.8 kWh",
        "3.3",
        &["b1 cost_only Credited", "c cost_only Credit", "s no Billed"],
    );
}

#[test]
fn bills_that_name_no_session_find_each_other_by_time_and_place() {
    let session = session("s");
    let first = bill("b1", None, 10_200, "3.50");
    let credit = credit("c", &first, "-3.50");
    let second = bill("b2", None, 9_800, "3.30");
    is(
        &[&session, &first, &credit, &second],
        "9.8 kWh",
        "3.3",
        &["b1 cost_only Credited", "c cost_only Credit", "s no MaybeBilled"],
    );
}

#[test]
fn a_credit_without_a_new_bill_leaves_the_energy_and_takes_the_cost() {
    let session = session("s");
    let first = bill("b", Some(&session), 10_200, "3.50");
    let credit = credit("c", &first, "-3.50");
    is(
        &[&session, &first, &credit],
        "10 kWh",
        "0",
        &["b cost_only Credited", "c cost_only Credit", "s energy_only BillCredited"],
    );
    // Without the session, the energy of the bill is all that is known.
    is(&[&first, &credit], "10.2 kWh", "0", &["c cost_only Credit"]);
}

#[test]
fn a_credit_of_a_part_lowers_the_cost_and_nothing_else() {
    let session = session("s");
    let first = bill("b", Some(&session), 10_200, "3.50");
    let credit = credit("c", &first, "-1.00");
    is(&[&session, &first, &credit], "10.2 kWh", "2.5", &["c cost_only Credit", "s no Billed"]);
}

#[test]
fn a_credit_that_was_rounded_differently_is_one_where_a_new_bill_follows() {
    let session = session("s");
    let first = bill("b1", Some(&session), 10_200, "3.505");
    let credit = credit("c", &first, "-3.50");
    let second = bill("b2", Some(&session), 9_800, "3.30");
    is(
        &[&session, &first, &credit, &second],
        "9.8 kWh",
        "3.305",
        &["b1 cost_only Credited", "c cost_only Credit", "s no Billed"],
    );
}

#[test]
fn a_credit_for_what_does_not_count_does_not_count() {
    let first = bill("b", None, 10_200, "3.50");
    let credit = credit("c", &first, "-3.50");
    is(&[&credit], "0 kWh", "0", &["c no CreditForNothing"]);
    let mut void = first.clone();
    void.state.status = SessionStatus::Invalid;
    is(&[&void, &credit], "0 kWh", "0", &["b no Void", "c no CreditForNothing"]);
}

#[test]
fn a_correction_without_a_credit_replaces() {
    let first = bill("b1", None, 10_200, "3.50");
    let second = related(bill("b2", None, 9_800, "3.30"), RelationKind::Corrects, &first);
    is(&[&first, &second], "9.8 kWh", "3.3", &["b1 no Corrected"]);
}

#[test]
fn a_stay_contains_its_segments() {
    let stay = session("stay");
    let mut one = of_kind(RecordKind::Segment, "one");
    one.identity.parent = Some(stay.key().clone());
    let two = related(of_kind(RecordKind::Segment, "two"), RelationKind::PartOf, &stay);
    is(&[&stay, &one, &two], "10 kWh", "3", &["one no PartOf", "two no PartOf"]);
    // A stay that goes on does not count yet, what has ended of it does.
    let mut open = stay.clone();
    open.state.status = SessionStatus::Active;
    open.timing.period.end = None;
    is(&[&open, &one, &two], "20 kWh", "6", &["stay no Active"]);
    // A parent that is not here cannot count.
    is(&[&one], "10 kWh", "3", &[]);
}

#[test]
fn a_bill_for_a_segment_stands_for_the_stay() {
    let stay = session("stay");
    let mut part = of_kind(RecordKind::Segment, "part");
    part.identity.parent = Some(stay.key().clone());
    let bill = bill("b", Some(&part), 10_000, "4");
    is(&[&stay, &part, &bill], "10 kWh", "4", &["part no Billed", "stay no Billed"]);
}

#[test]
fn levels_without_a_relation_meet_at_the_same_vehicle() {
    let mut stay = session("stay");
    stay.parties.vehicle = Some(Vehicle::of("car"));
    let mut part = of_kind(RecordKind::Segment, "part");
    part.parties.vehicle = Some(Vehicle::of("car"));
    is(&[&stay, &part], "10 kWh", "3", &["part no MaybePartOf"]);
    // Another vehicle, another time, another account, or the same level: another charge.
    part.parties.vehicle = Some(Vehicle::of("other"));
    is(&[&stay, &part], "20 kWh", "6", &[]);
    part.parties.vehicle = None;
    is(&[&stay, &part], "20 kWh", "6", &[]);
    part.parties.vehicle = Some(Vehicle::of("car"));
    let mut later = part.clone();
    at(&mut later, "2026-10-10T22:58:30Z", "2026-10-10T23:50:00Z");
    is(&[&stay, &later], "20 kWh", "6", &[]);
    let mut other = part.clone();
    other.identity.key.account = "other".parse().unwrap();
    is(&[&stay, &other], "20 kWh", "6", &[]);
    part.identity.key.kind = RecordKind::PlugIn;
    is(&[&stay, &part], "20 kWh", "6", &[]);
}

#[test]
fn another_plug_at_the_same_time_is_another_charge() {
    let mut session = session("s");
    session.parties.charge_point = Some(ChargePoint::of("left"));
    let mut bill = bill("b", None, 10_000, "3");
    bill.parties.charge_point = Some(ChargePoint::of("right"));
    is(&[&session, &bill], "20 kWh", "6", &[]);
    // The same one, of which the bill tells the public identifier, too; and another connector of it.
    let mut plug = ChargePoint::of("left");
    plug.evse_id = Some("DE*ABC*E1".into());
    bill.parties.charge_point = Some(plug);
    is(&[&session, &bill], "10 kWh", "3", &["s no MaybeBilled"]);
    bill.parties.charge_point.as_mut().unwrap().connector_id = Some("1".into());
    session.parties.charge_point.as_mut().unwrap().connector_id = Some("2".into());
    is(&[&session, &bill], "20 kWh", "6", &[]);
}

#[test]
fn of_the_same_charge_at_two_providers_the_better_evidence_counts() {
    let wallbox = session("wallbox");
    let mut car = related(session("car"), RelationKind::SameCharge, &wallbox);
    car.identity.key.provider = ProviderId::new("y");
    car.energy.readings[0].point = MeasuringPoint::VehicleInlet;
    is(&[&wallbox, &car], "10 kWh", "3", &["car no SameCharge"]);
}

#[test]
fn what_cannot_count_by_itself_is_left_out() {
    for (status, reason) in [
        (SessionStatus::Active, "s no Active"),
        (SessionStatus::Pending, "s no NotBegun"),
        (SessionStatus::Reserved, "s no NotBegun"),
        (SessionStatus::Invalid, "s no Void"),
    ] {
        let mut session = session("s");
        session.state.status = status;
        is(&[&session], "0 kWh", "0", &[reason]);
    }
    let mut impossible = session("s");
    impossible.issues.push(Issue::new(IssueCode::ENERGY_HIGH, Severity::Error));
    is(&[&impossible], "0 kWh", "0", &["s no Impossible"]);
    impossible.issues[0].severity = Severity::Warning;
    is(&[&impossible], "10 kWh", "3", &[]);
    let mut record = Record::new(session("s"));
    record.missing_since = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(sums(&[record]).2, ["s no Vanished"]);
}

#[test]
fn records_that_name_themselves_or_each_other_in_a_circle_end() {
    let (one, two) = (session("one"), session("two"));
    let both = [related(one.clone(), RelationKind::PartOf, &two), related(two, RelationKind::PartOf, &one)];
    let records = both.map(Record::new);
    assert_eq!(Choice::of(&records).standings.len(), 2);
    let alone = related(one.clone(), RelationKind::Credits, &one);
    is(&[&alone], "0 kWh", "0", &["one no CreditForNothing"]);
}
