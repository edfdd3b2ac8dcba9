//! Whole documents, of records that are as hostile as a provider can make them.

use charging_sessions_core::{
    AccountId, ChargingSession, Cost, CostBasis, Currency, Distance, Emissions, EmissionsMethod, Endpoint,
    Energy, EnergyReading, Grams, Interval, Issue, IssueCode, Location, MeasuringPoint, Money, Provenance,
    ProviderId, RecordKind, Relation, RelationKind, SessionKey, SessionStatus, Severity, Token, Vehicle,
};
use charging_sessions_report::{
    BucketRule, Choice, Context, Ledger, LedgerBuilder, Period, Record, Standing, emissions,
    export::{self, Cell, Column, CsvDialect, CsvTable, JsonLines, TableWriter, XlsxTable},
    monthly, reimbursement,
};
use jiff::{Timestamp, tz::TimeZone};

/// Closes a tag, is a formula, and turns the line around.
const HOSTILE: &str = "=1+1\"</td></script><script>alert(1)</script><img src=//x.example/y>\u{202e}";

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn session(kind: RecordKind, id: &str, start: &str, wh: i64, cost: Option<(&str, &str)>) -> ChargingSession {
    let key = SessionKey::new(ProviderId::new("x"), AccountId::default(), kind, id);
    let origin = Provenance::new(Endpoint::new("GET /", None), "2026-11-02T00:00:00Z".parse().unwrap(), 1);
    let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
    let start: Timestamp = start.parse().unwrap();
    session.timing.period.start = Some(start);
    session.timing.period.end = Some(start + jiff::SignedDuration::from_hours(2));
    let reading = EnergyReading::import(Energy::from_wh(wh).unwrap(), MeasuringPoint::EvseOutput);
    session.energy.readings.push(reading);
    session.costs.cost = cost.map(|(amount, currency)| {
        let money = Money::new(amount.parse().unwrap(), Currency::parse(currency).unwrap());
        Cost::new(money, CostBasis::Billed)
    });
    session
}

/// A session, its bill, a credit and a new bill; one with hostile words; a free one over the end of the month with
/// intervals; one that goes on.
fn records() -> Vec<Record> {
    let first = session(RecordKind::PlugIn, "s1", "2026-10-10T20:00:00Z", 10_000, Some(("3", "EUR")));
    let bill = |id: &str, wh, cost| {
        let mut bill =
            session(RecordKind::BillingRecord, id, "2026-10-10T20:00:00Z", wh, Some((cost, "EUR")));
        bill.identity.parent = Some(first.key().clone());
        bill
    };
    let old = bill("b1", 10_200, "3.50");
    let mut credit = bill("c1", 10_200, "-3.50");
    credit.identity.related.push(Relation::new(old.key().clone(), RelationKind::Credits));
    let new = bill("b2", 9_800, "3.30");

    let mut hostile =
        session(RecordKind::PlugIn, HOSTILE, "2026-10-25T01:30:00Z", 21_350, Some(("6.345", "GBP")));
    let mut vehicle = Vehicle::of("v1");
    vehicle.name = Some(HOSTILE.into());
    hostile.parties.vehicle = Some(vehicle);
    let mut place = Location::default();
    place.label = Some(HOSTILE.into());
    hostile.place.location = Some(place);
    let mut token = Token::default();
    token.uid = Some("04A1B2C3D4E5F6".to_owned().into());
    hostile.parties.token = Some(token);
    hostile.issues.push(Issue::new(IssueCode::ENERGY_METER_MISMATCH, Severity::Warning));
    hostile.energy.registers.start = Energy::from_wh(1_000_000);
    hostile.energy.registers.end = Energy::from_wh(1_021_350);
    hostile.driving.odometer = Some(Distance::from_m(45_678_900).unwrap());
    hostile.emissions = Emissions::default();
    hostile.emissions.total = Some(Grams::from(4_200));
    hostile.emissions.method = Some(EmissionsMethod::Market);

    let mut over = session(RecordKind::PlugIn, "over", "2026-10-31T22:00:00Z", 8_000, Some(("0", "EUR")));
    let mut interval = Interval::lasting(over.timing.period.start, Some(7200));
    interval.energy = Energy::from_wh(8_000);
    over.set_intervals(vec![interval]);
    let mut active = session(RecordKind::PlugIn, "active", "2026-10-31T09:00:00Z", 1_000, None);
    active.state.status = SessionStatus::Active;
    active.timing.period.end = None;

    let mut records: Vec<_> =
        [first, old, credit, new, hostile, over, active].into_iter().map(Record::new).collect();
    records[4].payload_sha256 = Some([0xab; 32]);
    records[4].revision = 3;
    records
}

fn ledger(rule: BucketRule) -> Ledger {
    let mut builder = LedgerBuilder::new(Period::parse("2026-10", zone()).unwrap(), rule);
    records().into_iter().for_each(|record| builder.add(record));
    builder.finish()
}

fn context() -> Context {
    Context {
        made_at: "2026-11-03T08:00:00Z".parse().unwrap(),
        made_by: "charging-sessions".into(),
        filters: vec![format!("account {HOSTILE}")],
    }
}

fn price() -> reimbursement::Options {
    let price_per_kwh = Money::new("0.325".parse().unwrap(), Currency::parse("EUR").unwrap());
    reimbursement::Options { price_per_kwh, by: reimbursement::GroupBy::Vehicle }
}

fn factor() -> emissions::Options {
    let factor = emissions::Factor {
        grams_per_kwh: 380.into(),
        name: HOSTILE.into(),
        method: Some(EmissionsMethod::LocationAverage),
    };
    emissions::Options { factor: Some(factor) }
}

fn pages(rule: BucketRule) -> [String; 3] {
    let (ledger, mut pages) = (ledger(rule), [Vec::new(), Vec::new(), Vec::new()]);
    monthly::html(&ledger, &context(), &mut pages[0]).unwrap();
    reimbursement::html(&ledger, &price(), &context(), &mut pages[1]).unwrap();
    emissions::html(&ledger, &factor(), &context(), &mut pages[2]).unwrap();
    pages.map(|page| String::from_utf8(page).unwrap())
}

/// The text between two marks.
fn between<'a>(page: &'a str, from: &str, until: &str) -> &'a str {
    let rest = page.split_once(from).unwrap_or_else(|| panic!("{from} is not in the page")).1;
    rest.split_once(until).unwrap().0
}

#[test]
fn hostile_words_stay_words_in_every_page() {
    for page in pages(BucketRule::Start) {
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
        assert!(page.contains("&#60;script&#62;alert(1)"), "the word itself is there");
        assert!(page.contains("default-src 'none'"));
        for outside in ["http://", "https://", "url(", "@import", "<link", "src="] {
            let page = page.replace("src=//x.example", "");
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

#[test]
fn the_totals_of_a_month_are_right_and_currencies_stay_apart() {
    let [page, ..] = pages(BucketRule::Start);
    // 9.8 + 21.35 + 8; the session, the old bill and the credit add no energy.
    assert_eq!(between(&page, "id=\"total-energy\">", "</dd>"), "39.150 kWh");
    assert_eq!(between(&page, "id=\"total-cost\">", "</dd>").trim(), "3.30 EUR<br>6.345 GBP");
    assert_eq!(between(&page, "id=\"total-sessions\">", "</dd>").trim(), "3");
    assert_eq!(between(&page, "id=\"total-left-out\">", "</dd>"), "2");
    assert!(
        page.contains("still active")
            && page.contains("billed by another record: x/default/billing_record/b2")
    );
    assert!(page.contains(&"ab".repeat(32)), "the hash of the payload");
    // The clock went back on this day: half past two came twice, and this is the second time.
    assert!(page.contains("2026-10-25 02:30 +01:00"));
}

#[test]
fn a_session_over_the_end_of_the_month_is_divided_if_asked() {
    let [page, ..] = pages(BucketRule::Split);
    assert_eq!(between(&page, "id=\"total-energy\">", "</dd>"), "35.150 kWh");
    assert!(page.contains("the part in this period"));
}

#[test]
fn a_reimbursement_is_rounded_once_and_half_away_from_zero() {
    let [_, page, _] = pages(BucketRule::Start);
    // 21.35 x 0.325 = 6.93875; 17.8 x 0.325 = 5.785, which lies in the middle.
    assert!(page.contains("6.94 EUR") && page.contains("5.79 EUR"));
    assert_eq!(between(&page, "id=\"total-amount\">", "</dd>"), "12.73 EUR");
    assert!(page.contains("1000.000") && page.contains("1021.350"), "the registers");
    assert!(page.contains("45678.9"), "the odometer");
    assert!(page.contains("It is not tax advice"));
}

#[test]
fn the_number_of_a_card_is_in_no_page_and_no_table() {
    let mut options = price();
    options.by = reimbursement::GroupBy::Token;
    let mut page = Vec::new();
    reimbursement::html(&ledger(BucketRule::Start), &options, &context(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("…E5F6") && !page.contains("04A1B2C3D4E5F6"));
    assert!(!exported(CsvDialect::Rfc4180).contains("04A1B2C3D4E5F6"));
}

#[test]
fn vehicles_of_one_name_stay_two_and_one_with_two_names_stays_one() {
    let mut builder = LedgerBuilder::new(Period::parse("2026-10", zone()).unwrap(), BucketRule::Start);
    for (id, vehicle, name) in [("a", "v1", "Car"), ("b", "v2", "Car"), ("c", "v2", "Our car")] {
        let mut session = session(RecordKind::PlugIn, id, "2026-10-10T20:00:00Z", 10_000, None);
        let mut party = Vehicle::of(vehicle);
        party.name = Some(name.into());
        session.parties.vehicle = Some(party);
        builder.add(Record::new(session));
    }
    let ledger = builder.finish();
    let mut page = Vec::new();
    reimbursement::html(&ledger, &price(), &context(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("<bdi>Car</bdi>: 3.25 EUR") && page.contains("<bdi>Our car</bdi>: 6.50 EUR"));
    let mut page = Vec::new();
    monthly::html(&ledger, &context(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let rows = between(&page, "id=\"by-vehicle\"", "</table>").matches("<tr><th scope=\"row\"").count();
    assert_eq!(rows, 2);
}

#[test]
fn methods_of_emissions_are_never_added_up() {
    let [_, _, page] = pages(BucketRule::Start);
    // What the provider says of one session; the factor for 17.8 kWh of two.
    assert!(page.contains("4.200 kg") && page.contains("6.764 kg"));
    assert!(page.contains("market-based") && page.contains("location-based"));
    assert!(!page.contains("10.964"), "the sum of both");
}

#[test]
fn every_page_is_as_it_was() {
    let [monthly, reimbursement, emissions] = pages(BucketRule::Start);
    // The style is not what a change of a figure should be searched in.
    let body = |page: &str| between(page, "<body>", "</body>").replace("\n\n", "\n");
    insta::assert_snapshot!("monthly", body(&monthly));
    insta::assert_snapshot!("reimbursement", body(&reimbursement));
    insta::assert_snapshot!("emissions", body(&emissions));
}

fn exported(dialect: CsvDialect) -> String {
    let records = records();
    let choice = Choice::of(&records);
    let mut out = Vec::new();
    let mut table = CsvTable::new(&mut out, export::COLUMNS, dialect).unwrap();
    for record in &records {
        table.row(&export::cells(record, choice.standing(record.session.key()), &zone())).unwrap();
    }
    Box::new(table).finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn read(text: &str, delimiter: u8) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    (header, rows)
}

fn cell<'a>((header, rows): &'a (Vec<String>, Vec<Vec<String>>), row: usize, name: &str) -> &'a str {
    &rows[row][header.iter().position(|column| column == name).unwrap()]
}

#[test]
fn csv_is_read_again_as_it_was_and_holds_no_formula() {
    let text = exported(CsvDialect::Rfc4180);
    assert!(text.lines().count() >= 8 && text.contains("\r\n"));
    let table = read(&text, b',');
    assert_eq!(cell(&table, 4, "source_id"), format!("'{HOSTILE}"));
    assert_eq!(cell(&table, 4, "energy_kwh"), "21.35");
    assert_eq!(cell(&table, 2, "cost_amount"), "-3.5", "a number is no formula");
    assert_eq!(cell(&table, 4, "start"), "2026-10-25T01:30:00Z");
    assert_eq!(cell(&table, 4, "start_local"), "2026-10-25 02:30:00");
    assert_eq!(cell(&table, 4, "evidence"), "B");
    let counts: Vec<_> = (0..7).map(|row| cell(&table, row, "counts")).collect();
    assert_eq!(counts, ["no", "cost_only", "cost_only", "yes", "yes", "yes", "no"]);
    for row in &table.1 {
        let formula = row.iter().find(|cell| cell.starts_with(['=', '+', '@', '\t']));
        assert_eq!(formula, None);
    }
}

#[test]
fn the_german_dialect_is_what_excel_opens() {
    let text = exported(CsvDialect::ExcelDe);
    let table = read(text.strip_prefix('\u{feff}').expect("a byte order mark"), b';');
    assert_eq!(cell(&table, 4, "energy_kwh"), "21,35");
    assert_eq!(cell(&table, 2, "cost_amount"), "-3,5");
    assert_eq!(cell(&table, 4, "source_id"), format!("'{HOSTILE}"));
}

#[test]
fn json_lines_give_the_records_back() {
    let (records, mut out) = (records(), Vec::new());
    let mut lines = JsonLines::new(&mut out);
    for record in &records {
        lines.record(record, &Standing::Counts).unwrap();
    }
    lines.finish().unwrap();
    let text = String::from_utf8(out).unwrap();
    let read: Vec<ChargingSession> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, records.iter().map(|record| record.session.clone()).collect::<Vec<_>>());
    assert!(text.contains("\"revision\":3") && text.contains(&"ab".repeat(32)));
}

#[test]
fn workbooks_have_numbers_real_dates_and_no_formulas() {
    use calamine::{Data, Reader as _, Xlsx};
    let (records, mut out) = (records(), Vec::new());
    let mut table = XlsxTable::new(&mut out, "Sessions", export::COLUMNS).unwrap();
    for record in &records {
        table.row(&export::cells(record, &Standing::Counts, &zone())).unwrap();
    }
    Box::new(table).finish().unwrap();
    let mut book: Xlsx<_> = calamine::open_workbook_from_rs(std::io::Cursor::new(&out)).unwrap();
    let sheet = book.worksheet_range("Sessions").unwrap();
    assert_eq!(sheet.height(), records.len() + 1);
    let at = |row: u32, name: &str| {
        let column = export::COLUMNS.iter().position(|column| column.name == name).unwrap();
        sheet.get_value((row, column as u32)).unwrap().clone()
    };
    assert_eq!(at(0, "session_id"), Data::String("session_id".into()));
    assert_eq!(at(5, "energy_kwh"), Data::Float(21.35));
    assert_eq!(at(5, "source_id"), Data::String(HOSTILE.into()));
    let Data::DateTime(local) = at(5, "start_local") else { panic!("{:?}", at(5, "start_local")) };
    // Days since the end of 1899: 2026-10-25 02:30 on the clock.
    assert!((local.as_f64() - (46_320.0 + 2.5 / 24.0)).abs() < 1e-9, "{local:?}");
    assert!(book.worksheet_formula("Sessions").unwrap().is_empty());
}

/// Takes rows, and has no place to write them to.
struct Counted(usize, Vec<Column>);

impl TableWriter for Counted {
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        assert_eq!(cells.len(), self.1.len());
        self.0 += 1;
        Ok(())
    }
    fn finish(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_tables_of_reports_have_a_row_for_every_record() {
    let ledger = ledger(BucketRule::Start);
    let count = ledger.entries.len() + ledger.left_out.len();
    let mut table = Counted(0, monthly::columns());
    monthly::table(&ledger, &mut table).unwrap();
    assert_eq!(table.0, count);
    let mut table = Counted(0, reimbursement::columns());
    reimbursement::table(&ledger, &price(), &mut table).unwrap();
    assert_eq!(table.0, count);
    let mut table = Counted(0, emissions::columns());
    emissions::table(&ledger, &factor(), &mut table).unwrap();
    assert_eq!(table.0, count);
}

#[test]
fn nothing_gives_whole_documents() {
    let empty = LedgerBuilder::new(Period::parse("2026-10", zone()).unwrap(), BucketRule::Start).finish();
    let mut out = Vec::new();
    monthly::html(&empty, &context(), &mut out).unwrap();
    reimbursement::html(&empty, &price(), &context(), &mut out).unwrap();
    emissions::html(&empty, &factor(), &context(), &mut out).unwrap();
    let pages = String::from_utf8(out).unwrap();
    assert_eq!(pages.matches("</html>").count(), 3);
    assert!(pages.contains("There is nothing to be reimbursed in this period."));
}
