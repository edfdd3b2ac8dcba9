//! What can go wrong.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use charging_sessions_testkit::{
    hostile::{Answer, Place, Trick, gzip, gzip_bomb},
    sandbox::Fault,
};

use super::subject::{Subject, Total};

/// Whether it happens to one request, or to all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lasts {
    Once,
    ForEver,
}

/// How to make it happen. A sandbox is shared by all cases, a gateway is not.
pub(crate) enum Act {
    Gateway(Vec<Trick>),
    Sandbox(Fault),
}

type Acts = dyn Fn(&Subject) -> Option<Act> + Send + Sync;

/// Something that goes wrong.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// `None` if it cannot happen to this provider.
    pub(crate) act: Box<Acts>,
    /// Whether a record is not what the provider has, so that it has to be read again.
    pub(crate) alters: bool,
    /// Whether a parser with a sane limit cannot read the record.
    pub(crate) deep: bool,
    /// How many requests are one occurrence.
    pub(crate) once: usize,
    /// Whether the provider asks for a wait that is kept.
    waits: bool,
}

impl Case {
    fn new(name: &'static str, act: impl Fn(&Subject) -> Option<Act> + Send + Sync + 'static) -> Self {
        Self { name, act: Box::new(act), alters: false, deep: false, once: 1, waits: false }
    }

    /// On a page of the listing, in the middle.
    fn page(name: &'static str, trick: impl Fn() -> Trick + Send + Sync + 'static) -> Self {
        Self::new(name, move |subject| Some(Act::Gateway(vec![subject.on_listing(trick())])))
    }

    /// A page with another content.
    fn body(name: &'static str, change: fn(&mut Answer)) -> Self {
        Self::page(name, move || Trick::change(change))
    }

    /// A page in which the number of one record is another text.
    fn number(name: &'static str, written: &'static str) -> Self {
        let case = Self::new(name, move |subject| {
            let field = subject.number;
            let trick = Trick::change(move |answer| rewrite(answer, field, |_| written.to_owned()));
            Some(Act::Gateway(vec![subject.on_listing(trick)]))
        });
        case.altered()
    }

    /// Where it is asked what the listing is: first the versions, then one of them.
    fn lookup(name: &'static str, nth: usize, trick: impl Fn() -> Trick + Send + Sync + 'static) -> Self {
        Self::new(name, move |subject| Some(Act::Gateway(vec![trick().on_path(subject.lookups.get(nth)?)])))
    }

    /// A page that says that there are another number of records.
    fn total(name: &'static str, change: fn(u64) -> u64) -> Self {
        Self::total_written(name, move |total| change(total).to_string())
    }

    /// A page in which the number of records is another text.
    fn total_written(
        name: &'static str,
        write: impl Fn(u64) -> String + Copy + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |subject| {
            let total = subject.total?;
            let new = move |total: &str| write(total.trim().parse().unwrap());
            let lie = move |answer: &mut Answer| match total {
                Total::Field(field) => rewrite(answer, field, new),
                Total::Header(name) => {
                    let given = answer.headers.iter().find(|(other, _)| other == name);
                    let written = given.map(|(_, value)| new(value));
                    answer.set_header(name, &written.unwrap());
                }
            };
            Some(Act::Gateway(vec![subject.on_listing(Trick::change(lie))]))
        })
    }

    /// What a sandbox does to a page, where there is more than one.
    fn pages(name: &'static str, fault: fn() -> Fault) -> Self {
        Self::new(name, move |subject| (subject.before > 0).then(|| Act::Sandbox(fault())))
    }

    /// Where a token is asked for.
    fn token(name: &'static str, trick: impl Fn() -> Trick + Send + Sync + 'static) -> Self {
        Self::new(name, move |subject| Some(Act::Gateway(vec![trick().on_path(subject.token?)])))
    }

    fn altered(self) -> Self {
        Self { alters: true, ..self }
    }

    fn deep(self) -> Self {
        Self { deep: true, ..self }
    }

    fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    /// The longest that the policy lets it take.
    pub(crate) fn most(&self, attempts: Duration, waits: Duration) -> Duration {
        if self.waits { attempts + waits } else { attempts }
    }
}

/// Writes the number after this name anew.
fn rewrite(answer: &mut Answer, field: &str, new: impl Fn(&str) -> String) {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let name = format!("\"{field}\":");
    // Where an object has the same name, the number is in it.
    let at = text.match_indices(&name).map(|(at, _)| at + name.len());
    let Some(at) =
        at.into_iter().find(|at| text[*at..].trim_start().starts_with(|c: char| c.is_ascii_digit()))
    else {
        return;
    };
    let end = at + text[at..].find([',', '}']).unwrap();
    answer.body = format!("{}{}{}", &text[..at], new(&text[at..end]), &text[end..]).into_bytes();
}

fn json(status: u16, headers: &[(&str, &str)], body: &str) -> Trick {
    let headers = [&[("content-type", "application/json")], headers].concat();
    Trick::answer(status, &headers, body)
}

fn too_many(header: &'static str, wait: &'static str) -> Trick {
    json(429, &[(header, wait)], "{}")
}

fn in_a_moment() -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2))
}

const HTML: &str = "<!doctype html><html><title>Back soon</title></html>";
/// 1 GiB.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip_bomb(1 << 30));
/// The length of a chunk has five bytes, and none of the body: on a busy machine, too, they are to take less than what is
/// silence.
const A_BYTE_NOW_AND_THEN: Duration = Duration::from_millis(20);

pub(crate) fn all() -> Vec<Case> {
    let mut cases = connection();
    cases.extend(content());
    cases.extend(size());
    cases.extend(status());
    cases.extend(sign_in());
    cases.extend(lookups());
    cases.extend(paging());
    cases
}

fn connection() -> Vec<Case> {
    use Place::*;
    let drip = |at| move || Trick::drip(at, A_BYTE_NOW_AND_THEN);
    vec![
        Case::page("the connection is reset before the answer", || Trick::reset(Start)),
        Case::page("the connection is reset in the body", || Trick::reset(Body)),
        Case::page("the connection is closed before the answer", || Trick::cut(Start)),
        Case::page("it ends in the status line", || Trick::cut(StatusLine)),
        Case::page("it ends in the headers", || Trick::cut(Headers)),
        Case::page("it ends before the body", || Trick::cut(BodyStart)),
        Case::page("it ends in a body of announced length", || Trick::cut(Body)),
        Case::page("it ends in a body without a length", || Trick::cut(BodyWithoutLength)),
        Case::page("it ends in the length of a chunk", || Trick::cut(ChunkSize)),
        Case::page("it ends before the last chunk", || Trick::cut(LastChunk)),
        Case::page("it ends in gzip, with a length that fits", || Trick::cut(Gzip)),
        Case::page("silence before the answer", || Trick::hang(Start)),
        Case::page("silence in the headers", || Trick::hang(Headers)),
        Case::page("silence in the body", || Trick::hang(Body)),
        Case::page("the status line, a byte now and then", drip(StatusLine)),
        Case::page("the headers, a byte now and then", drip(Headers)),
        Case::page("the body, a byte now and then", drip(BodyStart)),
        Case::page("chunks, a byte now and then", drip(ChunkSize)),
        Case::page("something else than HTTP", || Trick::says(*b"220 mail.example ESMTP\r\n")),
    ]
}

fn content() -> Vec<Case> {
    vec![
        Case::page("an HTML page with 200", || Trick::answer(200, &[("content-type", "text/html")], HTML)),
        Case::page("an empty body with 200", || json(200, &[], "")),
        Case::page("204 without a body", || Trick::answer(204, &[], "")),
        Case::page("`null`", || json(200, &[], "null")),
        Case::page("`{}`", || json(200, &[], "{}")),
        Case::body("the charset is said to be Latin-1", |answer| {
            answer.set_header("content-type", "application/json; charset=iso-8859-1");
        }),
        Case::body("UTF-16", |answer| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            answer.set_header("content-type", "application/json; charset=utf-16");
            answer.body =
                std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        }),
        Case::body("a byte that is not UTF-8", |answer| {
            let at = answer.body.windows(2).position(|pair| pair == b":\"").unwrap() + 2;
            answer.body.insert(at, 0xff);
        }),
        Case::body("a byte order mark", |answer| {
            answer.body.splice(0..0, *b"\xef\xbb\xbf");
        }),
        Case::body("more behind the JSON", |answer| answer.body.extend(b"{\"and\":\"more\"}")),
        Case::new("a key that occurs twice", |subject| {
            let field = subject.number;
            let twice = move |answer: &mut Answer| {
                rewrite(answer, field, |number| format!("1,\"{field}\":{number}"));
            };
            Some(Act::Gateway(vec![subject.on_listing(Trick::change(twice))]))
        })
        .altered(),
        Case::number("`NaN` for a number", "NaN"),
        Case::number("`1e400` for a number", "1e400"),
        Case::number("a number over 2^64", "36893488147419103232"),
        Case::new("a field nested 100,000 deep", |subject| {
            let field = subject.number;
            let deep = move |answer: &mut Answer| {
                let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
                rewrite(answer, field, |number| format!("{number},\"deep\":{open}{close}"));
            };
            Some(Act::Gateway(vec![subject.on_listing(Trick::change(deep))]))
        })
        .altered()
        .deep(),
        Case::page("a body nested 100,000 deep", || json(200, &[], &"[".repeat(100_000))),
        Case::body("gzip that is none", |answer| answer.set_header("content-encoding", "gzip")),
        Case::body("gzip with a wrong checksum", |answer| {
            answer.set_header("content-encoding", "gzip");
            answer.body = gzip(&answer.body);
            let checksum = answer.body.len() - 6;
            answer.body[checksum] ^= 1;
        }),
        Case::body("gzip that is right", |answer| {
            answer.set_header("content-encoding", "gzip");
            answer.body = gzip(&answer.body);
        }),
        Case::body("an encoding that was not asked for", |answer| {
            answer.set_header("content-encoding", "br");
            answer.body = vec![0x1b; 100];
        }),
    ]
}

fn size() -> Vec<Case> {
    vec![
        Case::page("a gzip bomb: 1 MB for 1 GiB", || {
            let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
            Trick::answer(200, &headers, BOMB.clone())
        }),
        Case::page("a gzip bomb packed once more: some kB", || {
            let headers = [("content-type", "application/json"), ("content-encoding", "gzip, gzip")];
            Trick::answer(200, &headers, gzip(&BOMB))
        }),
        Case::page("a body without a length that never ends", Trick::endless),
        Case::page("a body above the limit", || json(200, &[], &" ".repeat((1 << 20) + 1))),
        Case::page("500 with a gzip bomb", || {
            Trick::answer(500, &[("content-encoding", "gzip")], BOMB.clone())
        }),
        Case::body("a megabyte of headers", |answer| {
            answer.headers.extend((0..100).map(|n| (format!("x-{n}"), "x".repeat(10_000))));
        }),
    ]
}

fn status() -> Vec<Case> {
    vec![
        Case::page("500", || json(500, &[], "{}")),
        Case::page("502 with a page of the gateway", || {
            Trick::answer(502, &[("content-type", "text/html")], HTML)
        }),
        Case { once: 2, ..Case::page("two 503 in a row", || json(503, &[], "{}")) },
        Case::page("503 with a wait of a second", || json(503, &[("retry-after", "1")], "{}")).waiting(),
        Case::page("400", || json(400, &[], "{}")),
        Case::page("403", || json(403, &[], "{}")),
        Case::page("404", || json(404, &[], "{}")),
        Case::page("418", || json(418, &[], "{}")),
        Case::page("a redirect to another origin", || {
            json(302, &[("location", "https://elsewhere.example/x")], "")
        }),
        Case::page("a redirect in a circle, without the query", || {
            json(307, &[("location", "?round=and-round")], "")
        }),
        Case::page("a redirect to nowhere", || json(302, &[], "")),
        Case::page("429 with a wait of a second", || too_many("retry-after", "1")).waiting(),
        Case::page("429 with a date two seconds ahead", || {
            json(429, &[("retry-after", &in_a_moment())], "{}")
        })
        .waiting(),
        Case::page("429 with the other spelling", || too_many("retryafter", "1")).waiting(),
        Case::page("429 with a date that has passed", || {
            too_many("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")
        }),
        Case::page("429 with words for a wait", || too_many("retry-after", "a while")),
        Case::page("503 with a wait of 10^9 s", || json(503, &[("retry-after", "1000000000")], "{}")),
        Case::page("429 without a wait", || json(429, &[], "{}")),
        Case::page("429 with a wait of 0", || too_many("retry-after", "0")),
        Case::page("429 with a wait of -5", || too_many("retry-after", "-5")),
        Case::page("429 with a wait of 10^9 s", || too_many("retry-after", "1000000000")),
    ]
}

fn sign_in() -> Vec<Case> {
    let token = |answer: &str| {
        let answer = answer.to_owned();
        move || json(200, &[], &answer)
    };
    let lying = |expires: &'static str| {
        move || Trick::change(move |answer| rewrite(answer, "expires_in", |_| expires.to_owned()))
    };
    vec![
        Case::token("sign-in: the connection is reset", || Trick::reset(Place::Start)),
        Case::token("sign-in: silence", || Trick::hang(Place::Start)),
        Case::token("sign-in: 503", || json(503, &[], "{}")),
        Case::token("sign-in: an HTML page with 200", || {
            Trick::answer(200, &[("content-type", "text/html")], HTML)
        }),
        Case::token("sign-in: an answer without a token", token("{\"token_type\":\"Bearer\"}")),
        Case::token(
            "sign-in: a token that cannot be sent",
            token("{\"access_token\":\"a\\nb\",\"expires_in\":60}"),
        ),
        Case::token(
            "sign-in: a token that nobody knows",
            token("{\"access_token\":\"t0ken-of-nobody\",\"expires_in\":60}"),
        ),
        Case::token("sign-in: 429 with a wait of 10^9 s", || too_many("retry-after", "1000000000")),
        Case::token("sign-in: a redirect to another origin", || {
            json(307, &[("location", "https://elsewhere.example/x")], "")
        }),
        Case::token("sign-in: a gzip bomb", || {
            Trick::answer(200, &[("content-encoding", "gzip")], BOMB.clone())
        }),
        Case::token("sign-in: a token that has expired already", lying("0")),
        Case::token("sign-in: a token that expired before", lying("-3600")),
        Case::token("sign-in: a token that never expires", lying("99999999999999999999")),
        Case::new("the token is taken back while it is used", |subject| {
            subject.token?;
            Some(Act::Sandbox(Fault::revoke_tokens()))
        }),
    ]
}

fn lookups() -> Vec<Case> {
    vec![
        Case::lookup("the versions: the connection is reset", 0, || Trick::reset(Place::Start)),
        Case::lookup("the versions: silence", 0, || Trick::hang(Place::Start)),
        Case::lookup("the versions: 503", 0, || json(503, &[], "{}")),
        Case::lookup("the versions: an HTML page with 200", 0, || {
            Trick::answer(200, &[("content-type", "text/html")], HTML)
        }),
        Case::lookup("the versions: an empty list", 0, || {
            json(200, &[], "{\"status_code\":1000,\"data\":[]}")
        }),
        Case::lookup("the versions: success in HTTP, failure in the envelope", 0, || {
            json(200, &[], "{\"status_code\":3000,\"data\":[]}")
        }),
        Case::lookup("the versions: a redirect to another origin", 0, || {
            json(302, &[("location", "https://elsewhere.example/x")], "")
        }),
        Case::lookup("the versions: on another host", 0, || {
            let version = "{\"version\":\"2.2.1\",\"url\":\"https://elsewhere.example/2.2.1\"}";
            json(200, &[], &format!("{{\"status_code\":1000,\"data\":[{version}]}}"))
        }),
        Case::lookup("the versions: a gzip bomb", 0, || {
            Trick::answer(200, &[("content-encoding", "gzip")], BOMB.clone())
        }),
        Case::lookup("the version: 404", 1, || json(404, &[], "{}")),
        Case::lookup("the version: no modules", 1, || {
            json(200, &[], "{\"status_code\":1000,\"data\":{\"version\":\"2.2.1\",\"endpoints\":null}}")
        }),
    ]
}

fn paging() -> Vec<Case> {
    let replay = |answers: usize| {
        move |subject: &Subject| {
            // Where everything is one answer, that is the right one.
            let pages = subject.before > 0;
            pages.then(|| Act::Gateway(vec![subject.on_listing(Trick::replay(answers))]))
        }
    };
    vec![
        Case::pages("a page comes again, with its links", Fault::repeat_page),
        Case::pages("a page with fewer records than were asked for", || Fault::page_size(3)),
        Case::pages("a page with more records than were asked for", || Fault::page_size(400)),
        Case::pages("a page in reverse order", Fault::reversed_page),
        Case::pages("records are inserted while it lists", || Fault::shift_page(1)),
        Case::new("records are taken away while it lists", |subject| {
            // Where a page begins behind a record, that moves nothing.
            subject.by_offset.then(|| Act::Sandbox(Fault::skip_page(1)))
        }),
        Case::new("the last page instead of the next: the cursor stands still", replay(1)),
        Case::new("the last two pages in turn: the cursors go in a circle", replay(2)),
        Case::total("the total is too large by 7", |total| total + 7),
        Case::total("the total is too small by 7", |total| total.saturating_sub(7)),
        Case::total("the total is 0", |_| 0),
        Case::total_written("the total is -3", |_| "-3".to_owned()),
        Case::total_written("the total has a fraction", |total| format!("{total}.5")),
        Case::total_written("the total is 1e21", |_| "1e21".to_owned()),
        Case::total_written("the total is over 2^64", |_| "36893488147419103232".to_owned()),
        Case::total_written("the total is in quotes", |total| format!("\"{total}\"")),
        Case::total_written("the total is `null`", |_| "null".to_owned()),
    ]
}
