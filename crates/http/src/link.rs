//! The next page in `Link` headers (RFC 8288), read for its query alone.

use charging_sessions_core::{Error, ErrorKind, Result};
use http::{HeaderMap, header};
use url::{Url, form_urlencoded};

/// The query of the `rel="next"` target, percent-encoded as it came; `None` if there is no next page.
///
/// Only the query: gateways and providers' own examples name other hosts and other paths, and credentials go to
/// the configured origin alone. There is no next page if no link says `next`, or if its target is empty or
/// `about:blank`.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] if there seems to be a next page but its link cannot be read, or has no query: to end
/// the listing there would lose records silently.
pub fn next(headers: &HeaderMap) -> Result<Option<String>> {
    let mut unreadable = false;
    for value in headers.get_all(header::LINK) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let mut rest = value.trim_start_matches(is_gap);
        while !rest.is_empty() {
            let Some(link) = take_link(&mut rest) else {
                unreadable |= rest.to_ascii_lowercase().contains("next");
                break;
            };
            if link.is_next {
                return query(link.target);
            }
            rest = rest.trim_start_matches(is_gap);
        }
    }
    if unreadable {
        return Err(Error::new(ErrorKind::Protocol, "the `Link` header to the next page cannot be read"));
    }
    Ok(None)
}

/// `query`, which a next link had, with those of `conditions` that it does not name: a link that forgets them would
/// lead out of the listing. Without a link yet, `query` is empty.
pub fn with_conditions<'a>(query: &str, conditions: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let named: Vec<_> = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect();
    let forgotten = conditions.into_iter().filter(|(name, _)| !named.iter().any(|named| named == name));
    form_urlencoded::Serializer::new(query.to_owned()).extend_pairs(forgotten).finish()
}

/// The path of an address that the provider names, absolute or relative to `ours`. Scheme and port are not looked at,
/// because they are often those of a machine behind a gateway. Another host is another matter: the credentials would go
/// there. `what` says what is there, for the message.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] if there is no address that can be used, [`ErrorKind::Config`] if it is on another host, or
/// has a query.
pub fn path(ours: &Url, named: Option<&str>, what: &str) -> Result<String> {
    let url = named.and_then(|named| ours.join(named.trim()).ok()).ok_or_else(|| {
        Error::new(ErrorKind::Protocol, format!("the provider names no usable address for {what}"))
    })?;
    if url.host_str() == ours.host_str() && url.query().is_none() {
        return Ok(url.path().to_owned());
    }
    let host = url.host_str().unwrap_or_default().escape_debug().to_string();
    let text = format!(
        "the address that the provider names for {what} is on the host {host}, or has a query, and no credentials are \
         sent there: if that is right, configure the address itself"
    );
    Err(Error::new(ErrorKind::Config, text))
}

fn query(target: &str) -> Result<Option<String>> {
    let target = target.trim();
    if target.is_empty() || target.eq_ignore_ascii_case("about:blank") {
        return Ok(None);
    }
    let without_fragment = target.split('#').next().unwrap_or_default();
    match without_fragment.split_once('?') {
        Some((_, query)) if !query.is_empty() => Ok(Some(query.to_owned())),
        _ => Err(Error::new(ErrorKind::Protocol, "the link to the next page has no query")),
    }
}

struct LinkValue<'a> {
    target: &'a str,
    is_next: bool,
}

/// Takes `<target>; name=value; …` off the front, up to the comma that ends it.
fn take_link<'a>(rest: &mut &'a str) -> Option<LinkValue<'a>> {
    let (target, mut params) = rest.strip_prefix('<')?.split_once('>')?;
    let mut rel = None;
    loop {
        params = params.trim_start_matches([' ', '\t']);
        let Some(param) = params.strip_prefix(';') else { break };
        let name_end = param.find(['=', ';', ',']).unwrap_or(param.len());
        let name = param[..name_end].trim();
        params = &param[name_end..];
        let Some(value) = params.strip_prefix('=') else { continue };
        let value = value.trim_start_matches([' ', '\t']);
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted)?,
            None => value.split_at(value.find([';', ',']).unwrap_or(value.len())),
        };
        params = after;
        // A second `rel` of the same link does not count (RFC 8288, section 3.3).
        if name.eq_ignore_ascii_case("rel") && rel.is_none() {
            rel = Some(value);
        }
    }
    if !params.is_empty() && !params.starts_with(',') {
        return None;
    }
    *rest = params;
    let is_next = rel.is_some_and(|rel| rel.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("next")));
    Some(LinkValue { target, is_next })
}

/// Splits after the closing quote. Escapes are skipped over and left in: no relation type has one.
fn take_quoted(quoted: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&quoted[..at], &quoted[at + 1..])),
            _ => {}
        }
    }
    None
}

fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_read_for_its_path_and_not_followed_to_another_host() {
        let ours = "https://a.example/ocpi/versions".parse().unwrap();
        let of = |named| path(&ours, named, "its details").map_err(|error| error.kind());
        assert_eq!(of(Some("http://a.example:8080/ocpi/2.2.1")), Ok("/ocpi/2.2.1".to_owned()));
        assert_eq!(of(Some(" 2.2.1 ")), Ok("/ocpi/2.2.1".to_owned()));
        assert_eq!(of(Some("https://b.example/ocpi/2.2.1")), Err(ErrorKind::Config));
        assert_eq!(of(Some("https://a.example/?module=cdrs")), Err(ErrorKind::Config));
        assert_eq!((of(None), of(Some("https://["))), (Err(ErrorKind::Protocol), Err(ErrorKind::Protocol)));
    }

    fn of(values: &[&str]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::LINK, value.parse().unwrap());
        }
        next(&headers)
    }

    fn found(value: &str) -> Option<String> {
        of(&[value]).unwrap()
    }

    #[test]
    fn conditions_that_a_link_forgets_are_added() {
        let conditions = || [("size", "9".to_owned()), ("a b", "ü&".to_owned()), ("a b", "2".to_owned())];
        assert_eq!(
            with_conditions("after=%2B1&size=1", conditions()),
            "after=%2B1&size=1&a+b=%C3%BC%26&a+b=2"
        );
        assert_eq!(with_conditions("", conditions()), "size=9&a+b=%C3%BC%26&a+b=2");
        assert_eq!(with_conditions("a+b=1", conditions()), "a+b=1&size=9");
    }

    #[test]
    fn the_query_of_the_next_link_is_found() {
        for value in [
            r#"<https://a.example/v2/x?page=2&size=5>; rel="next""#,
            r#"<https://a.example/v2/x?page=2&size=5>; rel=next"#,
            r#"<https://a.example/v2/x?page=2&size=5>;rel="next";title="a, b; c \" <d>""#,
            r#"<https://a.example/v2/x?page=2&size=5> ; title="a" ; REL = "prefetch NEXT""#,
            r#"<https://b.example/?page=1>; rel="previous", <https://a.example/x?page=2&size=5>; rel="next""#,
            r#"<about:blank>; rel="previous",<?page=2&size=5>; rel=next, <x?last>; rel=last"#,
            r#", ,<http://elsewhere.example/x?page=2&size=5#top>; rel="next","#,
            r#"<x?page=2&size=5>; crossorigin; rel=next"#,
        ] {
            assert_eq!(found(value).as_deref(), Some("page=2&size=5"), "{value}");
        }
        assert_eq!(of(&["<a?p=0>; rel=previous", "<a?p=2>; rel=next"]).unwrap().as_deref(), Some("p=2"));
    }

    #[test]
    fn commas_semicolons_and_escapes_inside_a_target_stay() {
        let value = r#"<https://a.example/x?ids=1,2;3&next=%3Ea%26b>; rel="next""#;
        assert_eq!(found(value).as_deref(), Some("ids=1,2;3&next=%3Ea%26b"));
    }

    #[test]
    fn no_next_page_is_none() {
        for value in [
            "",
            "<about:blank>; rel=\"next\"",
            "<>; rel=next",
            "<https://a.example/x?page=1>; rel=\"previous\"",
            "<https://a.example/x?page=1>; rel=previous; rel=next",
            "<https://a.example/x?page=1>; title=\"rel=next\"",
            "<https://a.example/x?page=1>",
            "nonsense",
        ] {
            assert_eq!(found(value), None, "{value}");
        }
        assert_eq!(of(&[]).unwrap(), None);
    }

    #[test]
    fn a_next_page_that_cannot_be_followed_is_loud() {
        for value in [
            "<https://a.example/x?page=2; rel=\"next\"",
            "<https://a.example/x?page=2>; rel=\"next",
            "https://a.example/x?page=2; rel=next",
            "<https://a.example/page/2>; rel=next",
            "<https://a.example/x?>; rel=next",
            "<a?b> junk; rel=next",
        ] {
            assert_eq!(of(&[value]).unwrap_err().kind(), ErrorKind::Protocol, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(value in r#"[<>;, "=\\a?#nextrl\x80-\xff]{0,60}"#) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(header::LINK, value);
            }
            let _ = next(&headers);
        }
    }
}
