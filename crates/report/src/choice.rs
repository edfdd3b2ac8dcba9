//! Which of the records that tell of one charge counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use charging_sessions_core::{
    AccountId, ChargePoint, ChargingSession, Currency, ProviderId, RecordKind, RelationKind, SessionKey,
    SessionStatus,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::{Grade, Record};

/// Records may overlap by this much and still be of two charges, because clocks differ.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Which of many records count, so that each charge is in a sum once.
///
/// # The rule
///
/// 1. A record that cannot count by itself is left out: it has vanished at its provider, a figure of it is impossible,
///    it is still active, announced, reserved, or declared void.
/// 2. What was billed counts as it was billed: of a billing record and the session that it names, the billing record
///    counts.
/// 3. A credit adds its cost, which is negative, and no energy. A credit for a record that does not count is left out.
/// 4. A billing record whose whole cost was credited, or whose session was billed again after a credit, keeps its cost,
///    so that both cancel out, and loses its energy to the record that tells of the same charge: the new billing
///    record, or else the session. If there is none, it keeps its energy, because it flowed.
/// 5. A record that another one corrects, without a credit, is left out.
/// 6. A stay at the plug counts, and the segments and charges that are parts of it do not.
/// 7. Where two records of one account and of different levels name no relation, but are at the same time at the same
///    vehicle, plug or token, the higher level counts: billing record, stay, segment, charge.
/// 8. Where a record says that another one, of any account, tells of the same charge, the higher level counts, then
///    the better [`Grade`].
///
/// Records of different accounts are not compared otherwise: a wallbox and a vehicle that both tell of a charge are two
/// records, and two accounts. Whoever has both adds up one of them.
///
/// A record stands back only for one that is among those that were looked at. So all records of the accounts in
/// question belong in here, whatever the period of a report.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Of the records that do not simply count.
    standings: HashMap<SessionKey, Standing>,
}

/// Whether a record counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Its energy and its cost do.
    #[default]
    Counts,
    /// Its cost does, its energy does not.
    CostOnly(Why),
    /// Its energy does, its cost does not.
    EnergyOnly(Why),
    /// It does not.
    LeftOut(Why),
}

impl Standing {
    /// Whether its energy counts.
    pub fn energy(&self) -> bool {
        matches!(self, Self::Counts | Self::EnergyOnly(_))
    }

    /// Whether its cost counts.
    pub fn cost(&self) -> bool {
        matches!(self, Self::Counts | Self::CostOnly(_))
    }

    /// Why it does not count, or not in full.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Counts => None,
            Self::CostOnly(why) | Self::EnergyOnly(why) | Self::LeftOut(why) => Some(why),
        }
    }

    /// A stable lower-case word: `yes`, `cost_only`, `energy_only` or `no`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Counts => "yes",
            Self::CostOnly(_) => "cost_only",
            Self::EnergyOnly(_) => "energy_only",
            Self::LeftOut(_) => "no",
        }
    }
}

/// Why a record does not count, or not in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// The record that it has to do with.
    pub other: Option<SessionKey>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.other {
            Some(other) => write!(f, "{}: {other}", self.reason),
            None => fmt::Display::fmt(&self.reason, f),
        }
    }
}

/// A reason why a record does not count, or not in full, or belongs in no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The provider no longer lists it.
    Vanished,
    /// A figure is impossible.
    Impossible,
    /// It goes on.
    Active,
    /// It is announced or reserved.
    NotBegun,
    /// The provider declared it void.
    Void,
    /// A billing record tells of it.
    Billed,
    /// A billing record of the account that names no session was at the same time at the same place.
    MaybeBilled,
    /// Another record contains it.
    PartOf,
    /// Another record of the account was at the same time at the same place.
    MaybePartOf,
    /// Another record says that it tells of the same charge.
    SameCharge,
    /// Another record corrects it.
    Corrected,
    /// It is a credit.
    Credit,
    /// It is a credit for a record that is not here, or does not count.
    CreditForNothing,
    /// It was credited, and another record has the energy.
    Credited,
    /// What billed it was credited.
    BillCredited,
    /// It has no start.
    NoStart,
    /// It has no end.
    NoEnd,
    /// It reaches over a border and has no intervals.
    NoIntervals,
    /// It has no energy, and that is what is asked for.
    NoEnergy,
}

impl Reason {
    /// What is written of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vanished => "no longer listed by the provider",
            Self::Impossible => "with impossible figures",
            Self::Active => "still active",
            Self::NotBegun => "announced or reserved, not a charge yet",
            Self::Void => "declared void by the provider",
            Self::Billed => "billed by another record",
            Self::MaybeBilled => "perhaps billed by another record, which names no session",
            Self::PartOf => "part of another record",
            Self::MaybePartOf => "perhaps part of another record at the same time",
            Self::SameCharge => "the same charge as another record",
            Self::Corrected => "corrected by another record",
            Self::Credit => "a credit: its cost counts, the energy is that of another record",
            Self::CreditForNothing => "a credit for a record that is not here or does not count",
            Self::Credited => {
                "credited: its cost counts with the credit, the energy is that of another record"
            }
            Self::BillCredited => "its bill was credited: the energy counts here, the cost with the bill",
            Self::NoStart => "without a start",
            Self::NoEnd => "without an end",
            Self::NoIntervals => "over a border, without intervals to split by",
            Self::NoEnergy => "without energy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Choice {
    /// Looks at all of `records`.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut choosing = Choosing::default();
        records.into_iter().for_each(|record| choosing.add(record));
        choosing.finish()
    }

    /// Whether a record counts. One that was not looked at does.
    pub fn standing(&self, key: &SessionKey) -> &Standing {
        self.standings.get(key).unwrap_or(&Standing::Counts)
    }
}

/// Looks at records one by one, and keeps of each what it takes to choose: about 200 bytes.
#[derive(Debug, Default)]
pub struct Choosing {
    outlines: Vec<Outline>,
}

/// What it takes to choose.
#[derive(Debug)]
struct Outline {
    key: SessionKey,
    /// Why it cannot count by itself.
    flaw: Option<Reason>,
    span: Option<(Timestamp, Timestamp)>,
    /// Hashes of the vehicle, of both identifiers of the plug, and of the token.
    marks: [Option<u64>; 4],
    connector: Option<u64>,
    cost: Option<(Currency, Decimal)>,
    grade: Option<Grade>,
    links: Vec<(Link, SessionKey)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Parent,
    SameCharge,
    Corrects,
    Credits,
}

impl Choosing {
    /// Looks at a record.
    pub fn add(&mut self, record: &Record) {
        self.outlines.push(Outline::of(record));
    }

    /// Chooses among all that were looked at.
    pub fn finish(mut self) -> Choice {
        // The order in which records come is no reason for anything.
        self.outlines.sort_by(|one, other| one.key.cmp(&other.key));
        let mut desk = Desk::new(&self.outlines);
        desk.credits_and_corrections();
        desk.bills();
        desk.sessions();
        desk.credited_bills();
        desk.same_charges();
        let standings = desk.standings;
        let keys = self.outlines.into_iter().map(|outline| outline.key);
        Choice {
            standings: keys.zip(standings).filter(|(_, standing)| *standing != Standing::Counts).collect(),
        }
    }
}

impl Outline {
    fn of(record: &Record) -> Self {
        let session = &record.session;
        let period = &session.timing.period;
        let parties = &session.parties;
        let plug = parties.charge_point.as_ref();
        let of_plug = |id: fn(&ChargePoint) -> Option<&String>| plug.and_then(|plug| id(plug).map(mark));
        let public = of_plug(|plug| plug.evse_id.as_ref());
        let own = of_plug(|plug| plug.source_id.as_ref());
        let token = parties.token.as_ref();
        let token = token.and_then(|token| token.uid.as_ref().map(|uid| mark(uid.expose())));
        let vehicle = parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.as_ref().map(mark));
        let mut links: Vec<_> =
            session.identity.parent.iter().map(|parent| (Link::Parent, parent.clone())).collect();
        links.extend(session.identity.related.iter().filter_map(|relation| {
            let link = match relation.kind {
                RelationKind::PartOf => Link::Parent,
                RelationKind::SameCharge => Link::SameCharge,
                RelationKind::Corrects => Link::Corrects,
                RelationKind::Credits => Link::Credits,
                _ => return None,
            };
            Some((link, relation.key.clone()))
        }));
        Self {
            key: session.key().clone(),
            flaw: flaw(record),
            span: period.start.zip(period.end),
            marks: [vehicle, public, own, token],
            connector: of_plug(|plug| plug.connector_id.as_ref()),
            cost: session.costs.cost.as_ref().map(|cost| (cost.money.currency, cost.money.amount)),
            grade: Grade::of(session),
            links,
        }
    }

    fn links(&self, wanted: Link) -> impl Iterator<Item = &SessionKey> {
        self.links.iter().filter(move |(link, _)| *link == wanted).map(|(_, key)| key)
    }

    /// Billing records first.
    fn level(&self) -> u8 {
        match self.key.kind {
            RecordKind::BillingRecord => 0,
            RecordKind::PlugIn => 1,
            RecordKind::Segment => 2,
            RecordKind::Charge => 3,
            _ => 4,
        }
    }

    fn is_bill(&self) -> bool {
        self.key.kind == RecordKind::BillingRecord
    }

    /// Whether both were at the same time at the same vehicle, plug or token, and nothing known speaks against it.
    fn meets(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.span, other.span) else { return false };
        let both = || self.marks.iter().zip(&other.marks);
        let known = both().filter_map(|(one, two)| one.zip(*two));
        let unknown = [self, other].iter().all(|it| it.marks.iter().all(Option::is_none));
        // The number of a connector is small and tells nothing but that another one is another.
        let other_connector = self.connector.zip(other.connector).is_some_and(|(one, two)| one != two);
        one.1.min(two.1).duration_since(one.0.max(two.0)) > SKEW
            && !other_connector
            && known.clone().all(|(one, two)| one == two)
            && (unknown || known.count() > 0)
    }
}

fn mark<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Why a record cannot count, whatever others there are.
fn flaw(record: &Record) -> Option<Reason> {
    let session: &ChargingSession = &record.session;
    if record.missing_since.is_some() {
        return Some(Reason::Vanished);
    }
    match session.state.status {
        SessionStatus::Active => return Some(Reason::Active),
        SessionStatus::Pending | SessionStatus::Reserved => return Some(Reason::NotBegun),
        SessionStatus::Invalid => return Some(Reason::Void),
        _ => {}
    }
    (!session.counts()).then_some(Reason::Impossible)
}

/// All records side by side, while it is chosen among them. Records are named by their place in `outlines`.
struct Desk<'a> {
    outlines: &'a [Outline],
    places: HashMap<&'a SessionKey, usize>,
    standings: Vec<Standing>,
    /// By record, the credits for it.
    credits: Vec<Vec<usize>>,
    is_credit: Vec<bool>,
    /// Billing records whose energy counts.
    carrying: Vec<usize>,
    /// Billing records that were credited as a whole, each with whether a session has their energy.
    credited: BTreeMap<usize, bool>,
}

impl<'a> Desk<'a> {
    fn new(outlines: &'a [Outline]) -> Self {
        let standing = |outline: &Outline| match outline.flaw {
            Some(reason) => Standing::LeftOut(Why { reason, other: None }),
            None => Standing::Counts,
        };
        Self {
            outlines,
            places: outlines.iter().enumerate().map(|(place, outline)| (&outline.key, place)).collect(),
            standings: outlines.iter().map(standing).collect(),
            credits: vec![Vec::new(); outlines.len()],
            is_credit: vec![false; outlines.len()],
            carrying: Vec::new(),
            credited: BTreeMap::new(),
        }
    }

    /// Those that can count by themselves.
    fn sound(&self) -> impl Iterator<Item = usize> + use<'a> {
        let outlines = self.outlines;
        (0..outlines.len()).filter(move |place| outlines[*place].flaw.is_none())
    }

    /// The sound records that one names in this way.
    fn linked(&self, place: usize, link: Link) -> Vec<usize> {
        let outline = &self.outlines[place];
        let places = outline.links(link).filter_map(|key| self.places.get(key).copied());
        places.filter(|other| *other != place && self.outlines[*other].flaw.is_none()).collect()
    }

    fn why(&self, reason: Reason, other: usize) -> Why {
        Why { reason, other: Some(self.outlines[other].key.clone()) }
    }

    fn credits_and_corrections(&mut self) {
        for place in self.sound() {
            let Some(named) = self.outlines[place].links(Link::Credits).next() else { continue };
            self.is_credit[place] = true;
            self.standings[place] = match self.linked(place, Link::Credits).first() {
                Some(target) => {
                    self.credits[*target].push(place);
                    Standing::CostOnly(self.why(Reason::Credit, *target))
                }
                None => {
                    let other = Some(named.clone());
                    Standing::LeftOut(Why { reason: Reason::CreditForNothing, other })
                }
            };
        }
        for place in self.sound().filter(|place| !self.is_credit[*place]).collect::<Vec<_>>() {
            for target in self.linked(place, Link::Corrects) {
                // Two that correct each other would both be gone.
                if self.standings[target] != Standing::Counts || self.standings[place] != Standing::Counts {
                    continue;
                }
                self.standings[target] = if self.credits[target].is_empty() {
                    Standing::LeftOut(self.why(Reason::Corrected, place))
                } else {
                    Standing::CostOnly(self.why(Reason::Credited, place))
                };
            }
        }
    }

    /// Sorts billing records into those that carry energy and those that were credited.
    fn bills(&mut self) {
        let bills: Vec<_> = self
            .sound()
            .filter(|place| self.outlines[*place].is_bill() && self.standings[*place] == Standing::Counts)
            .collect();
        let mut partly = Vec::new();
        for place in bills {
            if self.credits[place].is_empty() {
                self.carrying.push(place);
            } else if self.is_credited_as_a_whole(place) {
                self.credited.insert(place, false);
            } else {
                partly.push(place);
            }
        }
        // A credit of a part, and a new bill for the same session: the parties rounded differently.
        let billed_again: HashSet<_> =
            self.carrying.iter().flat_map(|bill| self.outlines[*bill].links(Link::Parent)).collect();
        for place in partly {
            if self.outlines[place].links(Link::Parent).any(|session| billed_again.contains(session)) {
                self.credited.insert(place, false);
            } else {
                self.carrying.push(place);
            }
        }
    }

    /// Whether a record and the credits for it cancel out, or their costs are not known.
    fn is_credited_as_a_whole(&self, place: usize) -> bool {
        let credits = &self.credits[place];
        let Some((currency, amount)) = self.outlines[place].cost else { return true };
        let mut costs = credits.iter().map(|credit| self.outlines[*credit].cost);
        let rest = costs.try_fold(amount, |rest, cost| {
            let (_, cost) = cost.filter(|(of, _)| *of == currency)?;
            rest.checked_add(cost)
        });
        rest.is_none_or(|rest| rest.is_zero())
    }

    fn sessions(&mut self) {
        let mut billed: HashMap<usize, usize> = HashMap::new();
        // Those that carry energy last, so that they win over one that was credited.
        let credited: Vec<_> = self.credited.keys().copied().collect();
        let mut nameless = [Vec::new(), Vec::new()];
        for (bills, nameless) in [&credited, &self.carrying].into_iter().zip(&mut nameless) {
            for bill in bills.iter().copied() {
                let mut named = self.linked(bill, Link::Parent);
                named.extend(self.linked(bill, Link::SameCharge));
                named.retain(|place| !self.outlines[*place].is_bill());
                if named.is_empty() {
                    nameless.push(bill);
                }
                for place in named {
                    billed.insert(self.top(place), bill);
                    billed.insert(place, bill);
                }
            }
        }
        let is_session = |place: &usize| !self.outlines[*place].is_bill();
        let sessions: Vec<_> = self
            .sound()
            .filter(is_session)
            .filter(|place| self.standings[*place] == Standing::Counts)
            .collect();
        let bills: HashSet<_> = self.carrying.iter().copied().collect();
        for place in &sessions {
            let same = self.linked(*place, Link::SameCharge);
            if let Some(bill) = same.into_iter().find(|other| bills.contains(other)) {
                billed.insert(*place, bill);
            }
        }
        let [credited, carrying] = nameless.map(|bills| Timeline::of(self.outlines, bills));
        let spans = Timeline::of(self.outlines, sessions.iter().copied());
        for place in sessions {
            let outline = &self.outlines[place];
            let parents = self.linked(place, Link::Parent);
            let parent = parents.into_iter().find(|parent| !self.outlines[*parent].is_bill());
            let bill = billed.get(&place).map(|bill| (*bill, Reason::Billed));
            let contained = parent.map(|parent| (parent, Reason::PartOf));
            let higher = |other: &usize| self.outlines[*other].level() < outline.level();
            let perhaps = |timeline: &Timeline<'_>| timeline.meeting(outline).find(higher);
            let found = bill
                .or(contained)
                .or_else(|| perhaps(&carrying).map(|bill| (bill, Reason::MaybeBilled)))
                .or_else(|| perhaps(&credited).map(|bill| (bill, Reason::MaybeBilled)))
                .or_else(|| perhaps(&spans).map(|other| (other, Reason::MaybePartOf)));
            let Some((other, reason)) = found else { continue };
            self.standings[place] = match self.credited.get_mut(&other) {
                Some(elsewhere) => {
                    *elsewhere = true;
                    Standing::EnergyOnly(self.why(Reason::BillCredited, other))
                }
                None => Standing::LeftOut(self.why(reason, other)),
            };
        }
    }

    /// The record that contains this one and all in between.
    fn top(&self, place: usize) -> usize {
        let mut top = place;
        // Records that contain each other in a circle end after a few.
        for _ in 0..4 {
            match self.linked(top, Link::Parent).into_iter().find(|parent| !self.outlines[*parent].is_bill())
            {
                Some(parent) => top = parent,
                None => break,
            }
        }
        top
    }

    fn credited_bills(&mut self) {
        let carrying = Timeline::of(self.outlines, self.carrying.iter().copied());
        let mut by_session: HashMap<&SessionKey, usize> = HashMap::new();
        for bill in &self.carrying {
            by_session.extend(self.outlines[*bill].links(Link::Parent).map(|session| (session, *bill)));
        }
        for (place, elsewhere) in &self.credited {
            let outline = &self.outlines[*place];
            let mut sessions = outline.links(Link::Parent).peekable();
            let is_nameless = sessions.peek().is_none();
            let of_same_session = sessions.find_map(|session| by_session.get(session).copied());
            // Two that name sessions, and not the same one, are two charges.
            let may_be =
                |other: &usize| is_nameless || self.outlines[*other].links(Link::Parent).next().is_none();
            let again = of_same_session.or_else(|| carrying.meeting(outline).find(may_be));
            let credit = self.credits[*place].first().copied().filter(|_| *elsewhere);
            if let Some(other) = again.or(credit) {
                self.standings[*place] = Standing::CostOnly(self.why(Reason::Credited, other));
            }
        }
    }

    fn same_charges(&mut self) {
        for place in self.sound() {
            for other in self.linked(place, Link::SameCharge) {
                if self.standings[place] != Standing::Counts || self.standings[other] != Standing::Counts {
                    continue;
                }
                let rank = |place: usize| {
                    let outline = &self.outlines[place];
                    // `None` is worse than any grade.
                    (outline.level(), outline.grade.is_none(), outline.grade, &outline.key)
                };
                let (better, worse) = if rank(place) < rank(other) { (place, other) } else { (other, place) };
                self.standings[worse] = Standing::LeftOut(self.why(Reason::SameCharge, better));
            }
        }
    }
}

/// Records of each account in the order of their starts.
struct Timeline<'a> {
    outlines: &'a [Outline],
    accounts: HashMap<(ProviderId, &'a AccountId), Spans>,
}

#[derive(Default)]
struct Spans {
    /// Start and place.
    starts: Vec<(Timestamp, usize)>,
    longest: SignedDuration,
}

impl<'a> Timeline<'a> {
    fn of(outlines: &'a [Outline], places: impl IntoIterator<Item = usize>) -> Self {
        let mut accounts: HashMap<_, Spans> = HashMap::new();
        for place in places {
            let outline = &outlines[place];
            if let Some((start, end)) = outline.span {
                let spans = accounts.entry((outline.key.provider, &outline.key.account)).or_default();
                spans.starts.push((start, place));
                spans.longest = spans.longest.max(end.duration_since(start));
            }
        }
        for spans in accounts.values_mut() {
            spans.starts.sort_unstable();
        }
        Self { outlines, accounts }
    }

    /// The records of its account that were at the same time at the same place, the latest first.
    fn meeting<'b>(&'b self, outline: &'b Outline) -> impl Iterator<Item = usize> + 'b {
        let spans = self.accounts.get(&(outline.key.provider, &outline.key.account));
        let near = spans.zip(outline.span).map_or(&[][..], |(spans, (start, end))| {
            let earliest = start.checked_sub(spans.longest).unwrap_or(Timestamp::MIN);
            let from = spans.starts.partition_point(|(start, _)| *start < earliest);
            let until = spans.starts.partition_point(|(start, _)| *start < end);
            spans.starts.get(from..until).unwrap_or_default()
        });
        let places = near.iter().rev().map(|(_, place)| *place);
        places.filter(move |place| {
            let other = &self.outlines[*place];
            other.key != outline.key && other.meets(outline)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
