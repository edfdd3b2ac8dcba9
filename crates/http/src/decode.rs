//! From bytes to typed records, losing neither a record nor a page to one bad field.

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Deref};

use bytes::Bytes;
use charging_sessions_core::{
    ChargingSession, Error, ErrorKind, Issue, IssueCode, Payload, Provenance, RecordContext, RejectedRecord,
    Result, SessionKey, SessionPage, SessionStatus, Severity,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, value::RawValue};
use serde_path_to_error::Segment;

use crate::text::{clean, is_printable};

/// The records of a page: those that could be read, and the others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decoded<T> {
    /// The readable ones, in the order of the page.
    pub records: Vec<Decodable<T>>,
    /// The others, with their bytes.
    pub rejected: Vec<RejectedRecord>,
}

/// A record that could be read, perhaps without some of its fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decodable<T> {
    /// The record.
    pub value: T,
    /// The record, byte for byte: a slice of the page, not a copy.
    pub payload: Payload,
    /// What was left out of [`value`](Self::value). Usually empty, and then without an allocation.
    pub issues: Vec<Issue>,
    /// The place in the array, from 0.
    pub index: usize,
}

impl<T> Decoded<T> {
    /// Takes the identifier out of each record with `id`, and rejects those without one as
    /// [`IssueCode::ID_MISSING`]. `at` is the JSON pointer of the array, as for [`records`]. The page has no sessions yet,
    /// and room for them; what was rejected is in it, with `context`.
    pub fn identified(
        self,
        at: &str,
        context: &RecordContext,
        id: impl Fn(&mut T) -> Option<String>,
    ) -> (Vec<(String, Decodable<T>)>, SessionPage) {
        let (records, rejected) = self.named(at, id);
        let mut page = SessionPage::default();
        // At once, because a session is large.
        page.sessions.reserve_exact(records.len());
        page.rejected.extend(rejected.into_iter().map(|record| record.with_context(context)));
        (records, page)
    }

    fn named(
        self,
        at: &str,
        id: impl Fn(&mut T) -> Option<String>,
    ) -> (Vec<(String, Decodable<T>)>, Vec<RejectedRecord>) {
        let mut rejected = self.rejected;
        let mut records = Vec::with_capacity(self.records.len());
        for mut record in self.records {
            match id(&mut record.value).filter(|id| !id.is_empty()) {
                Some(id) => records.push((id, record)),
                None => {
                    let (path, why) = (format!("{at}/{}/id", record.index), "the record has no usable `id`");
                    rejected.push(RejectedRecord::new(IssueCode::ID_MISSING, path, why, record.payload));
                }
            }
        }
        (records, rejected)
    }

    /// Makes a page: each record becomes the session that `map` makes of it and of its identifier, as in
    /// [`identified`](Self::identified).
    pub fn sessions(
        self,
        at: &str,
        context: &RecordContext,
        id: impl Fn(&mut T) -> Option<String>,
        map: impl FnMut((String, Decodable<T>)) -> ChargingSession,
    ) -> SessionPage {
        let (records, mut page) = self.identified(at, context, id);
        page.sessions = records.into_iter().map(map).collect();
        page
    }
}

impl<T> Decodable<T> {
    /// A session of which only key and origin are known yet. It takes the bytes of the record, and what was left out
    /// of it as issues.
    pub fn begin(&mut self, key: SessionKey, origin: &Provenance) -> ChargingSession {
        let origin = origin.clone().with_payload(std::mem::take(&mut self.payload));
        let mut session = ChargingSession::new(key, SessionStatus::Unknown, origin);
        session.issues = std::mem::take(&mut self.issues);
        session
    }
}

/// The elements of a list of what sessions belong to, by identifier. Passing over one would be sessions that are
/// silently missing, so one that cannot be read fails the list. `at` is as for [`records`], and `what` names the
/// elements, for example `vehicles`.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says which element cannot be read, and why.
pub fn complete<T: DeserializeOwned>(
    body: &Bytes,
    elements: &[&RawValue],
    at: &str,
    what: &str,
    id: impl Fn(&mut T) -> Option<String>,
) -> Result<Vec<(String, T)>> {
    let (elements, rejected) = records(body, elements, at).named(at, id);
    match rejected.first() {
        Some(rejected) => Err(Error::new(ErrorKind::Protocol, format!("the list of {what}: {rejected}"))),
        None => Ok(elements.into_iter().map(|(id, element)| (id, element.value)).collect()),
    }
}

/// The text of a body: UTF-8, without a byte order mark.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that names the first byte that is not UTF-8.
pub fn text(body: &Bytes) -> Result<&str> {
    let text = std::str::from_utf8(body).map_err(|e| {
        let text = format!("expected JSON, found bytes that are not UTF-8 from byte {} on", e.valid_up_to());
        Error::new(ErrorKind::Protocol, text)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The most records of one answer. Each costs memory beyond its bytes, also one that is no record.
const MOST_RECORDS: usize = 50_000;
/// What the error of a longer list begins with.
const TOO_MANY: &str = "too many records";
/// The longest record, in bytes. The longest that is known has about 100 kB; what is made of a record is several
/// times as large.
const LONGEST_RECORD: usize = 1 << 20;

/// The elements of a list in a body, each as it stands: 50,000 at most.
#[derive(Clone, Debug, Default)]
pub struct RawRecords<'a>(Vec<&'a RawValue>);

impl<'a> Deref for RawRecords<'a> {
    type Target = [&'a RawValue];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> From<RawRecords<'a>> for Vec<&'a RawValue> {
    fn from(records: RawRecords<'a>) -> Self {
        records.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = list.next_element()? {
                    if records.len() == MOST_RECORDS {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    records.push(record);
                }
                Ok(records)
            }
        }

        deserializer.deserialize_seq(List).map(Self)
    }
}

/// The body as one `T`, for example an envelope with [`RawRecords`]. A structure is read from an object alone.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says what was found instead, and where; never the content.
pub fn json<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T> {
    let text = text(body)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(FromObject(&mut reader)).and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| {
        // Only now, because keeping track of the place costs time.
        let mut again = serde_json::Deserializer::from_str(text);
        let place = serde_path_to_error::deserialize::<_, T>(FromObject(&mut again)).err();
        let place = place.map(|e| pointer(e.path())).unwrap_or_default();
        unreadable("JSON of the documented shape", text, &e, &place)
    })
}

/// Reads a structure from an object. serde would read it from an array, too, of which it takes the elements for the fields
/// in their order: `[1, []]` would be an envelope with a total and no records.
struct FromObject<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for FromObject<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // As itself, because `RawValue` is known by its name.
        self.0.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// The elements of a body that is a bare array.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says what was found instead, and where; never the content.
pub fn array(body: &Bytes) -> Result<Vec<&RawValue>> {
    let text = text(body)?;
    let records: Result<RawRecords<'_>, _> = serde_json::from_str(text);
    records.map(Into::into).map_err(|e| unreadable("a JSON array", text, &e, ""))
}

/// The elements of a body that is an array, bare or as the member `items` of an object.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says what was found instead, and where; never the content.
pub fn items(body: &Bytes) -> Result<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        items: RawRecords<'a>,
    }
    match array(body) {
        Ok(records) => Ok(records),
        Err(error) => json::<Envelope<'_>>(body).map(|envelope| envelope.items.into()).map_err(|_| error),
    }
}

/// A body that is one record.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says what was found instead, and where; never the content.
pub fn raw(body: &Bytes) -> Result<&RawValue> {
    let text = text(body)?;
    serde_json::from_str(text).map_err(|e| unreadable("a JSON object", text, &e, ""))
}

/// The member `name` of a body that is an object: a list, of which nothing is passed over.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] that says what was found instead, and where; never the content.
pub fn member<T: DeserializeOwned>(body: &Bytes, name: &str) -> Result<Vec<T>> {
    let members: BTreeMap<String, &RawValue> = json(body)?;
    let lacking = || Error::new(ErrorKind::Protocol, format!("the answer has no `{name}`"));
    let raw = members.get(name).ok_or_else(lacking)?.get();
    serde_json::from_str(raw).map_err(|e| unreadable("a list", raw, &e, &format!("/{name}")))
}

/// The elements of the list `name` in a record, each as it stands, and apart from them those that are links; none if
/// there is no such list, or null. What is no list stands as its only element, so that it is rejected as a record and
/// not lost.
pub fn list_in<'a>(record: &'a Payload, name: &str) -> (Vec<&'a RawValue>, Option<Vec<&'a RawValue>>) {
    let members = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(record.as_bytes());
    let Some(list) = members.ok().and_then(|members| members.get(name).copied()) else {
        return Default::default();
    };
    let elements = match serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) {
        Ok(elements) => elements.unwrap_or_default(),
        Err(_) => vec![list],
    };
    let (links, others): (Vec<_>, Vec<_>) =
        elements.into_iter().partition(|raw| raw.get().starts_with("\"http"));
    (others, Some(links).filter(|links| !links.is_empty()))
}

/// The members of a record that are not among those of `known`, an object, and are not null: what no version of an API
/// has told of. No more than `most`, so that nobody can fill a store with them.
pub fn unknown(record: &Payload, known: &Value, most: usize) -> Vec<(String, Value)> {
    let members = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(record.as_bytes());
    let others = members.unwrap_or_default().into_iter().filter(|(name, _)| known.get(&**name).is_none());
    let read = |(name, raw): (Cow<'_, str>, &RawValue)| {
        Some((name.into_owned(), serde_json::from_str(raw.get()).ok()?))
    };
    others.filter_map(read).filter(|(_, value): &(_, Value)| !value.is_null()).take(most).collect()
}

fn unreadable(expected: &str, text: &str, error: &serde_json::Error, pointer: &str) -> Error {
    use serde_json::error::Category;
    let found = kind_of_body(text);
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = match error.classify() {
        Category::Data if error.to_string().starts_with(TOO_MANY) => {
            format!("expected {expected}, found {found} with more than {MOST_RECORDS} records")
        }
        _ if !found.starts_with("a JSON") => format!("expected {expected}, found {found}"),
        Category::Eof => format!("expected {expected}, found {found} that breaks off at {place}"),
        Category::Syntax | Category::Io => {
            format!("expected {expected}, found {found} with a fault at {place}")
        }
        Category::Data if expected.starts_with("a JSON") => format!("expected {expected}, found {found}"),
        Category::Data if pointer.is_empty() => {
            format!("expected {expected}, found {found} of another shape at {place}")
        }
        Category::Data => {
            format!("expected {expected}, found {found} of another shape at {pointer} ({place})")
        }
    };
    // The error of `serde_json` is not attached: it quotes values.
    Error::new(ErrorKind::Protocol, text)
}

pub(crate) fn kind_of_body(text: &str) -> &'static str {
    let text = text.trim_start();
    match text.as_bytes().first() {
        None => "an empty body",
        Some(b'<') => {
            let mut end = text.len().min(1024);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let start = text[..end].to_ascii_lowercase();
            let is_html = ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| start.contains(tag));
            if is_html { "an HTML page" } else { "XML or other markup" }
        }
        Some(b'{') => "a JSON object",
        Some(b'[') => "a JSON array",
        Some(b'"') => "a JSON string",
        Some(b'-' | b'0'..=b'9') => "a JSON number",
        Some(_) if text.starts_with("null") => "a JSON null",
        Some(_) if text.starts_with("true") || text.starts_with("false") => "a JSON boolean",
        Some(_) => "text that is not JSON",
    }
}

/// Reads each of `records`, which are slices of `body` and whose array is at the JSON pointer `at` (empty if the
/// body is the array).
///
/// - A record that fits costs one parse and nothing else.
/// - A field that does not fit is left out, with an issue [`IssueCode::FIELD_UNREADABLE`]. What is left out is
///   the innermost member of an object that holds the fault; of a list with a bad element, the list.
/// - A key that occurs twice counts with its last value, with an issue of the same code.
/// - A record that is not an object, or cannot be read even so, is rejected with its bytes.
pub fn records<T: DeserializeOwned>(body: &Bytes, records: &[&RawValue], at: &str) -> Decoded<T> {
    let mut decoded = Decoded { records: Vec::with_capacity(records.len()), rejected: Vec::new() };
    for (index, raw) in records.iter().enumerate() {
        match decode(raw) {
            Ok((value, issues)) => {
                decoded.records.push(Decodable { value, payload: slice(body, raw), issues, index });
            }
            Err(fault) => decoded.rejected.push(fault.reject(&format!("{at}/{index}"), slice(body, raw))),
        }
    }
    decoded
}

/// Reads one record, a slice of `body` at the JSON pointer `at` (empty if the body is the record). As
/// [`records`], for an answer with one record and for webhooks.
///
/// # Errors
///
/// The rejected record, with its bytes.
pub fn record<T: DeserializeOwned>(
    body: &Bytes,
    raw: &RawValue,
    at: &str,
) -> Result<Decodable<T>, Box<RejectedRecord>> {
    match decode(raw) {
        Ok((value, issues)) => Ok(Decodable { value, payload: slice(body, raw), issues, index: 0 }),
        Err(fault) => Err(Box::new(fault.reject(at, slice(body, raw)))),
    }
}

/// The bytes of `raw`, shared with `body` if they lie in it.
fn slice(body: &Bytes, raw: &RawValue) -> Payload {
    let raw = raw.get().as_bytes();
    let start = (raw.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
    match start.checked_add(raw.len()) {
        Some(end) if end <= body.len() => body.slice(start..end).into(),
        _ => Bytes::copy_from_slice(raw).into(),
    }
}

struct Fault {
    code: IssueCode,
    /// Inside the record.
    pointer: String,
    reason: String,
    id: Option<String>,
}

impl Fault {
    fn reject(self, at: &str, payload: Payload) -> RejectedRecord {
        RejectedRecord::new(self.code, at.to_owned() + &self.pointer, self.reason, payload).with_id(self.id)
    }
}

fn decode<T: DeserializeOwned>(raw: &RawValue) -> Result<(T, Vec<Issue>), Fault> {
    if !raw.get().starts_with('{') {
        return Err(Fault {
            code: IssueCode::RECORD_NOT_AN_OBJECT,
            pointer: String::new(),
            reason: format!("a record is an object, this is {}", Shape(raw)),
            id: None,
        });
    }
    if raw.get().len() > LONGEST_RECORD {
        return Err(Fault {
            code: IssueCode::RECORD_UNREADABLE,
            pointer: String::new(),
            reason: format!("the record has more than {LONGEST_RECORD} bytes"),
            id: None,
        });
    }
    match serde_json::from_str(raw.get()) {
        Ok(value) => Ok((value, Vec::new())),
        Err(_) => heal(raw),
    }
}

/// How many faults of one record are passed over before it is given up.
const MOST_FAULTS: usize = 32;

fn heal<T: DeserializeOwned>(raw: &RawValue) -> Result<(T, Vec<Issue>), Fault> {
    let mut issues = Vec::new();
    let mut value = salvage(raw, &mut String::new(), 0, &mut issues).unwrap_or_default();
    let mut last = String::new();
    let fault = |pointer: String, reason: String, value: &Value| Fault {
        code: IssueCode::RECORD_UNREADABLE,
        pointer,
        reason,
        id: identifier(value),
    };
    while issues.len() <= MOST_FAULTS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(value) => return Ok((value, issues)),
            Err(error) => error,
        };
        let Some((pointer, observed)) = take_out(&mut value, error.path()) else {
            return Err(match missing_field(error.inner()) {
                Some(field) => {
                    let reason = format!("`{field}` is missing or cannot be read");
                    fault(escaped(&field), reason, &value)
                }
                None => fault(last, "the record has another shape than documented".to_owned(), &value),
            });
        };
        last.clone_from(&pointer);
        issues.push(unreadable_field(pointer, observed));
    }
    Err(fault(last, format!("more than {MOST_FAULTS} fields cannot be read"), &value))
}

fn unreadable_field(pointer: String, observed: impl fmt::Display) -> Issue {
    Issue::new(IssueCode::FIELD_UNREADABLE, Severity::Warning)
        .with_source_path(pointer)
        .with_observed(observed)
}

/// Takes the innermost object member on `path` out of `value`: its JSON pointer, and what it was.
fn take_out(value: &mut Value, path: &serde_path_to_error::Path) -> Option<(String, String)> {
    let mut keys = Vec::new();
    let mut innermost = None;
    let mut at = &*value;
    for segment in path {
        let inner = match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => {
                let inner = at.get(key);
                if inner.is_some() {
                    innermost = Some(keys.len());
                }
                keys.push(Step::Key(key));
                inner
            }
            Segment::Seq { index } => {
                keys.push(Step::Index(*index));
                at.get(index)
            }
            Segment::Unknown => None,
        };
        let Some(inner) = inner else { break };
        at = inner;
    }
    let (to_parent, member) = keys.split_at(innermost?);
    let Some(&Step::Key(key)) = member.first() else { return None };
    let mut pointer = String::new();
    let mut parent = value;
    for step in to_parent {
        parent = match step {
            Step::Key(key) => {
                pointer += &escaped(key);
                parent.get_mut(*key)?
            }
            Step::Index(index) => {
                pointer += &format!("/{index}");
                parent.get_mut(index)?
            }
        };
    }
    pointer += &escaped(key);
    let removed = parent.as_object_mut()?.remove(key)?;
    Some((pointer, observed(&removed)))
}

/// `path` as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } | Segment::Enum { variant: key } => escaped(key),
        Segment::Seq { index } => format!("/{index}"),
        Segment::Unknown => "/?".to_owned(),
    };
    path.iter().map(step).collect()
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The type, and the value if it cannot be about a person.
fn observed(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("boolean {value}"),
        Value::Number(value) => format!("number {value}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// The field that `error` misses. Other errors quote values, so nothing else is taken from the text.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let name = text.strip_prefix("missing field `")?.split('`').next()?;
    let is_name =
        name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.$@".contains(&b));
    is_name.then(|| name.to_owned())
}

fn identifier(record: &Value) -> Option<String> {
    match record.get("id")? {
        Value::String(id) => clean(id, &[]),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// One step of a JSON pointer. Keys come from outside: they are made fit to print, and cut.
fn escaped(key: &str) -> String {
    let key = if is_printable(key) { Cow::Borrowed(key) } else { clean(key, &[]).unwrap_or_default().into() };
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// How deep a record is looked into when it is healed. What lies deeper is left out.
const MOST_LEVELS: usize = 32;

/// The value of `raw` without what no reader could take: numbers out of range, broken escapes, excessive depth.
/// Notes these, and keys that occur twice. `None` if nothing is left.
fn salvage(raw: &RawValue, at: &mut String, level: usize, issues: &mut Vec<Issue>) -> Option<Value> {
    let parsed = match raw.get().as_bytes().first() {
        // A record with very many faults is given up by the caller; there is no need to list them all.
        _ if issues.len() > MOST_FAULTS => return None,
        Some(b'{') if level < MOST_LEVELS => serde_json::from_str(raw.get()).ok().map(|Members(members)| {
            let mut object = Map::new();
            let mut seen = std::collections::HashSet::new();
            for (key, raw) in members {
                let end = at.len();
                *at += &escaped(&key);
                if !seen.insert(key.clone()) {
                    issues.push(unreadable_field(at.clone(), "the key occurs more than once"));
                }
                match salvage(raw, at, level + 1, issues) {
                    Some(value) => object.insert(key.into_owned(), value),
                    None => object.remove(&*key),
                };
                at.truncate(end);
            }
            Value::Object(object)
        }),
        Some(b'[') if level < MOST_LEVELS => {
            serde_json::from_str(raw.get()).ok().map(|elements: Vec<&RawValue>| {
                let mut array = Vec::with_capacity(elements.len());
                for (index, raw) in elements.into_iter().enumerate() {
                    let end = at.len();
                    *at += &format!("/{index}");
                    // A gap keeps its place, so that later pointers stay right.
                    array.push(salvage(raw, at, level + 1, issues).unwrap_or_default());
                    at.truncate(end);
                }
                Value::Array(array)
            })
        }
        Some(b'{' | b'[') => None,
        _ => serde_json::from_str(raw.get()).ok(),
    };
    if parsed.is_none() {
        issues.push(unreadable_field(at.clone(), Shape(raw)));
    }
    parsed
}

/// The type of a value that was not parsed.
struct Shape<'a>(&'a RawValue);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.get().as_bytes().first() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            _ => "number",
        })
    }
}

/// The members of an object, unparsed, in order and with repetitions.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    members.push((Cow::Owned(key), value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use charging_sessions_core::{Endpoint, RecordKind};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Session {
        id: Option<String>,
        energy: Option<f64>,
        start: Option<jiff::Timestamp>,
        place: Option<Place>,
        readings: Option<Vec<Reading>>,
        tags: Option<BTreeMap<String, i32>>,
        word: Option<Word>,
        extra: Option<Value>,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Place {
        name: String,
        floor: Option<i8>,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Reading {
        value: Option<f64>,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    enum Word {
        Solar(u8),
        Grid,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Strict {
        id: String,
        start: jiff::Timestamp,
    }

    fn page<T: DeserializeOwned>(body: &str) -> Decoded<T> {
        let body = Bytes::from(body.to_owned());
        records(&body, &array(&body).unwrap(), "")
    }

    /// Reads one record and gives it back with its issues as text.
    fn healed(record: &str) -> (Session, Vec<String>) {
        let mut decoded = page::<Session>(&format!("[{record}]"));
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        let record = decoded.records.remove(0);
        (record.value, record.issues.iter().map(ToString::to_string).collect())
    }

    fn rejected<T: DeserializeOwned + fmt::Debug>(record: &str) -> RejectedRecord {
        let mut decoded = page::<T>(&format!("[{record}]"));
        assert!(decoded.records.is_empty(), "{:?}", decoded.records);
        decoded.rejected.remove(0)
    }

    fn sentence<T: fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(std::error::Error::source(&error).is_none());
        error.to_string()
    }

    #[test]
    fn records_without_an_identifier_are_rejected_in_their_place() {
        #[derive(Deserialize)]
        struct Named {
            id: Option<String>,
        }
        let body = Bytes::from_static(br#"{"items": [{"id": "a"}, {"id": ""}, {}, 7]}"#);
        let decoded = records::<Named>(&body, &items(&body).unwrap(), "/items");
        let origin = Provenance::new(Endpoint::new("GET /", None), jiff::Timestamp::UNIX_EPOCH, 1);
        let context = RecordContext::new(RecordKind::Charge, &origin);
        let (records, page) = decoded.identified("/items", &context, |record| record.id.take());
        assert_eq!(
            records.iter().map(|(id, record)| (id.as_str(), record.index)).collect::<Vec<_>>(),
            [("a", 0)]
        );
        let mut paths: Vec<_> = page.rejected.iter().map(|record| record.path.as_str()).collect();
        paths.sort();
        assert!(page.rejected.iter().all(|record| record.context.as_deref() == Some(&context)));
        assert_eq!(paths, ["/items/1/id", "/items/2/id", "/items/3"]);
    }

    #[test]
    fn members_that_nobody_has_told_of_are_found() {
        let record =
            Payload::from(r#"{"id": "a", "vat": {"rate": 21}, "nothing": null, "big": 1e999, "zone": 1}"#);
        let known = serde_json::json!({"id": null});
        let names =
            |most| unknown(&record, &known, most).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!((names(9), names(1)), (vec!["vat".to_owned(), "zone".to_owned()], vec!["vat".to_owned()]));
        assert_eq!(unknown(&Payload::from("no record"), &known, 9), []);
    }

    #[test]
    fn items_are_found_bare_or_in_their_object() {
        for body in ["[1, 2]", r#"{"total": 2, "items": [1, 2]}"#] {
            assert_eq!(items(&body.into()).unwrap().len(), 2, "{body}");
        }
        for body in ["{}", "7", "<html>", r#"{"items": 7}"#] {
            let error = items(&body.into()).unwrap_err();
            assert!(error.to_string().starts_with("expected a JSON array, found "), "{error}");
        }
    }

    #[test]
    fn a_good_page_is_read_without_issues_and_without_copies() {
        let body = Bytes::from_static(b" [ {\"id\":\"a\"} ,\n{\"id\":\"b\",\"energy\":1.5} ] ");
        let decoded = records::<Session>(&body, &array(&body).unwrap(), "");
        assert!(decoded.rejected.is_empty());
        let [a, b] = &decoded.records[..] else { panic!() };
        assert_eq!((a.value.id.as_deref(), a.index, a.issues.capacity()), (Some("a"), 0, 0));
        assert_eq!((b.value.energy, b.index), (Some(1.5), 1));
        assert_eq!(b.payload.as_bytes(), b"{\"id\":\"b\",\"energy\":1.5}");
        assert_eq!(a.payload.as_bytes().as_ptr(), body[3..].as_ptr(), "a slice, not a copy");
    }

    #[test]
    fn a_field_of_another_type_is_left_out_and_named() {
        let (session, issues) = healed(r#"{"id":"a","energy":"much, Mr Smith","start":17,"word":"Grid"}"#);
        assert_eq!(session.id.as_deref(), Some("a"));
        assert_eq!((session.energy, session.start, session.word), (None, None, Some(Word::Grid)));
        assert_eq!(
            issues,
            ["warning field.unreadable at /energy: string", "warning field.unreadable at /start: number 17",]
        );
    }

    #[test]
    fn a_nested_field_is_left_out_alone_if_the_rest_can_stand() {
        let (session, issues) =
            healed(r#"{"place":{"name":"Home","floor":300},"tags":{"a/b~c":true,"d":1}}"#);
        assert_eq!(session.place, Some(Place { name: "Home".into(), floor: None }));
        assert_eq!(session.tags.unwrap(), [("d".to_owned(), 1)].into());
        assert_eq!(
            issues,
            [
                "warning field.unreadable at /place/floor: number 300",
                "warning field.unreadable at /tags/a~1b~0c: boolean true",
            ]
        );
    }

    #[test]
    fn an_object_that_cannot_stand_without_a_field_goes_as_a_whole() {
        let (session, issues) = healed(r#"{"id":"a","place":{"name":7,"floor":1}}"#);
        assert_eq!((session.id.as_deref(), session.place), (Some("a"), None));
        assert_eq!(
            issues,
            [
                "warning field.unreadable at /place/name: number 7",
                "warning field.unreadable at /place: object"
            ]
        );
    }

    #[test]
    fn a_bad_field_inside_a_list_is_left_out_and_a_bad_element_takes_the_list() {
        let (session, issues) = healed(r#"{"readings":[{"value":1},{"value":"x"}]}"#);
        assert_eq!(session.readings, Some(vec![Reading { value: Some(1.0) }, Reading { value: None }]));
        assert_eq!(issues, ["warning field.unreadable at /readings/1/value: string"]);
        let (session, issues) = healed(r#"{"readings":[{"value":1},null]}"#);
        assert_eq!(session.readings, None);
        assert_eq!(issues, ["warning field.unreadable at /readings: array"]);
    }

    #[test]
    fn an_enum_with_a_bad_content_is_left_out() {
        let (session, issues) = healed(r#"{"id":"a","word":{"Solar":"x"}}"#);
        assert_eq!((session.id.as_deref(), session.word), (Some("a"), None));
        assert_eq!(issues.len(), 2, "{issues:?}");
    }

    #[test]
    fn a_key_that_occurs_twice_counts_with_its_last_value() {
        let (session, issues) = healed(r#"{"id":"first","id":"last","place":{"name":"a","name":"b"}}"#);
        assert_eq!(session.id.as_deref(), Some("last"));
        assert_eq!(session.place.unwrap().name, "b");
        assert_eq!(
            issues,
            [
                "warning field.unreadable at /id: the key occurs more than once",
                "warning field.unreadable at /place/name: the key occurs more than once",
            ]
        );
    }

    #[test]
    fn what_no_reader_could_take_is_left_out() {
        let (session, issues) = healed(r#"{"id":"a","energy":1e999,"extra":{"x":"\ud800","y":[1,1e999]}}"#);
        assert_eq!((session.id.as_deref(), session.energy), (Some("a"), None));
        assert_eq!(session.extra, Some(serde_json::json!({"y": [1, null]})));
        assert_eq!(
            issues,
            [
                "warning field.unreadable at /energy: number",
                "warning field.unreadable at /extra/x: string",
                "warning field.unreadable at /extra/y/1: number",
            ]
        );
    }

    #[test]
    fn depth_does_not_overflow() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let (session, issues) = healed(&format!(r#"{{"id":"a","unknown":{deep}}}"#));
        assert_eq!(
            (session.id.as_deref(), issues.len()),
            (Some("a"), 0),
            "a field that is not read costs nothing"
        );
        let (session, issues) = healed(&format!(r#"{{"id":"a","extra":{deep}}}"#));
        assert_eq!(session.id.as_deref(), Some("a"));
        assert_eq!(issues.len(), 1);
        let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        let (session, issues) = healed(&format!(r#"{{"id":"a","extra":{deep_objects}}}"#));
        assert_eq!((session.id.as_deref(), issues.len()), (Some("a"), 1));
        assert!(array(&Bytes::from(deep)).is_ok());
        assert!(sentence(array(&Bytes::from("[".repeat(200_000)))).contains("breaks off"));
    }

    #[test]
    fn what_is_not_an_object_is_rejected() {
        for (record, found) in
            [("7", "number"), ("null", "null"), ("\"a\"", "string"), ("[]", "array"), ("true", "boolean")]
        {
            let record = rejected::<Session>(record);
            assert_eq!((record.code, record.path.as_str()), (IssueCode::RECORD_NOT_AN_OBJECT, "/0"));
            assert_eq!(record.reason, format!("a record is an object, this is {found}"));
        }
    }

    #[test]
    fn a_record_without_what_it_needs_is_rejected_with_its_bytes() {
        let body = Bytes::from_static(br#"{"data":[{"id":"ok","start":"2026-09-01T00:00:00Z"},{"id":"a","start":"Mr Smith"},{"id":5}]}"#);
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            data: Vec<&'a RawValue>,
        }
        let page: Page<'_> = serde_json::from_slice(&body).unwrap();
        let decoded = records::<Strict>(&body, &page.data, "/data");
        assert_eq!(decoded.records.len(), 1);
        let [a, b] = &decoded.rejected[..] else { panic!() };
        assert_eq!(
            (a.code.clone(), a.path.as_str(), a.id.as_deref()),
            (IssueCode::RECORD_UNREADABLE, "/data/1/start", Some("a"))
        );
        assert_eq!(a.reason, "`start` is missing or cannot be read");
        assert_eq!(a.payload.as_bytes(), br#"{"id":"a","start":"Mr Smith"}"#);
        assert_eq!(b.path, "/data/2/id");
        assert!(!format!("{:?}", decoded.rejected).contains("Smith"));
    }

    #[test]
    fn a_record_with_faults_without_end_is_rejected() {
        let fields: Vec<String> = (0..1000).map(|i| format!("\"f{i}\":\"x\"")).collect();
        let record = rejected::<Session>(&format!(r#"{{"id":"a","tags":{{{}}}}}"#, fields.join(",")));
        assert_eq!((record.code, record.id.as_deref()), (IssueCode::RECORD_UNREADABLE, Some("a")));
        let twice = vec![r#""id":"a""#; 100_000].join(",");
        assert_eq!(rejected::<Session>(&format!("{{{twice}}}")).code, IssueCode::RECORD_UNREADABLE);
    }

    #[test]
    fn hostile_keys_do_not_reach_a_pointer_as_they_are() {
        let key = format!("\\u001b[31m{}", "k".repeat(5_000));
        let (_, issues) = healed(&format!(r#"{{"tags":{{"{key}":"x"}}}}"#));
        assert!(issues[0].len() < 400 && !issues[0].contains('\u{1b}'), "{}", issues[0]);
    }

    #[test]
    fn one_record_is_read_by_itself() {
        let body = Bytes::from_static(br#"{"type":"ended","data":{"id":"a","energy":"x"}}"#);
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let event: Event<'_> = serde_json::from_slice(&body).unwrap();
        let session = record::<Session>(&body, event.data, "/data").unwrap();
        assert_eq!((session.issues.len(), session.index), (1, 0));
        assert_eq!(session.payload.as_bytes(), br#"{"id":"a","energy":"x"}"#);
        let rejected = record::<Strict>(&body, raw(&body).unwrap(), "").unwrap_err();
        assert_eq!((rejected.path.as_str(), rejected.code), ("/id", IssueCode::RECORD_UNREADABLE));
    }

    #[test]
    fn a_record_from_elsewhere_is_copied() {
        let other = RawValue::from_string(r#"{"id":"a"}"#.to_owned()).unwrap();
        let decoded = records::<Session>(&Bytes::from_static(b"[]"), &[&other], "");
        assert_eq!(decoded.records[0].payload.as_bytes(), br#"{"id":"a"}"#);
    }

    #[test]
    fn a_body_that_is_not_the_promised_json_is_described_and_not_quoted() {
        for (body, expected) in [
            ("", "expected a JSON array, found an empty body"),
            ("<!DOCTYPE html>\n<p>Mr Smith", "expected a JSON array, found an HTML page"),
            ("<?xml?><a/>", "expected a JSON array, found XML or other markup"),
            ("Service unavailable, Mr Smith", "expected a JSON array, found text that is not JSON"),
            ("{\"a\":1}", "expected a JSON array, found a JSON object"),
            (
                "[{\"a\":\n1}, {\"b",
                "expected a JSON array, found a JSON array that breaks off at line 2, column 7",
            ),
            (
                "[1,\n\"Smith\" 2]",
                "expected a JSON array, found a JSON array with a fault at line 2, column 9",
            ),
            ("[] x", "expected a JSON array, found a JSON array with a fault at line 1, column 4"),
            ("null", "expected a JSON array, found a JSON null"),
        ] {
            assert_eq!(sentence(array(&Bytes::from(body.to_owned()))), expected, "{body}");
        }
        assert_eq!(
            sentence(json::<Strict>(&Bytes::from_static(br#"{"id":"Smith","start":"Smith"}"#))),
            "expected JSON of the documented shape, found a JSON object of another shape at /start (line 1, column 29)"
        );
        assert_eq!(json::<u8>(&Bytes::from_static(b"7")).unwrap(), 7);
        // Which serde would take for the two fields of the structure.
        assert_eq!(
            sentence(json::<Strict>(&Bytes::from_static(br#" ["a","2026-01-01T00:00:00Z"]"#))),
            "expected JSON of the documented shape, found a JSON array of another shape at line 1, column 1"
        );
        let list = Bytes::from_static(b"[1, 2]");
        assert_eq!(json::<Vec<u8>>(&list).unwrap(), [1, 2]);
        assert_eq!(json::<&RawValue>(&list).unwrap().get(), "[1, 2]");
        assert_eq!(json::<Option<Vec<u8>>>(&Bytes::from_static(b"null")).unwrap(), None);
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_other_encodings_are_named() {
        let body = Bytes::from_static(b"\xef\xbb\xbf[{\"id\":\"a\"}]");
        let decoded = records::<Session>(&body, &array(&body).unwrap(), "");
        assert_eq!(decoded.records[0].payload.as_bytes(), b"{\"id\":\"a\"}");
        assert_eq!(
            sentence(array(&Bytes::from_static(b"[\"ab\xff\"]"))),
            "expected JSON, found bytes that are not UTF-8 from byte 4 on"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            "id|energy|start|place|readings|tags|word|extra|name|floor|value|Solar|Grid",
            "[a-z ~/é\"\\\\]{0,4}"
        ];
        leaf.prop_recursive(4, 24, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_rejected_and_none_is_lost(values in proptest::collection::vec(any_json(), 0..4)) {
            let body = Bytes::from(serde_json::to_vec(&values).unwrap());
            let raws = array(&body).unwrap();
            let decoded = records::<Session>(&body, &raws, "/items");
            prop_assert_eq!(decoded.records.len() + decoded.rejected.len(), values.len());
            for record in &decoded.records {
                prop_assert_eq!(record.payload.as_bytes(), raws[record.index].get().as_bytes());
                for issue in &record.issues {
                    // What was left out is really there.
                    let pointer = issue.source_path.as_deref().unwrap();
                    prop_assert!(values[record.index].pointer(pointer).is_some(), "{pointer}");
                }
            }
            records::<Strict>(&body, &raws, "");
        }

        #[test]
        fn any_bytes_are_read_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let body = Bytes::from(body);
            if let Ok(raws) = array(&body) {
                records::<Session>(&body, &raws, "");
            }
            if let Ok(one) = raw(&body) {
                let _ = record::<Session>(&body, one, "");
            }
        }

        #[test]
        fn any_damage_to_a_page_is_survived(at in 0usize..200, byte in any::<u8>()) {
            let mut body = br#"[{"id":"a","energy":1.5,"place":{"name":"x","floor":1},"readings":[{"value":2}],"tags":{"t":1}}]"#.to_vec();
            let at = at % body.len();
            body[at] = byte;
            let body = Bytes::from(body);
            if let Ok(raws) = array(&body) {
                let decoded = records::<Session>(&body, &raws, "");
                prop_assert_eq!(decoded.records.len() + decoded.rejected.len(), raws.len());
            }
        }
    }

    #[test]
    fn a_list_or_a_record_beyond_all_measure_is_not_read() {
        let list = |records: usize| Bytes::from(format!("[{}1]", "1,".repeat(records - 1)));
        assert_eq!(array(&list(MOST_RECORDS)).unwrap().len(), MOST_RECORDS);
        for body in
            [list(MOST_RECORDS + 1), [b"{\"items\":", &list(MOST_RECORDS + 1)[..], b"}"].concat().into()]
        {
            assert_eq!(items(&body).unwrap_err().kind(), ErrorKind::Protocol);
        }
        let said = array(&list(MOST_RECORDS + 1)).unwrap_err().to_string();
        assert_eq!(said, "expected a JSON array, found a JSON array with more than 50000 records");
        let record = format!("{{\"id\":\"{}\"}}", "x".repeat(LONGEST_RECORD));
        let body = Bytes::from(format!("[{record}]"));
        let decoded = records::<BTreeMap<String, String>>(&body, &array(&body).unwrap(), "");
        assert!(decoded.records.is_empty());
        assert_eq!(decoded.rejected[0].payload.as_bytes(), record.as_bytes(), "nothing is lost");
    }
}
