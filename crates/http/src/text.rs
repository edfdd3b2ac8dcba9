//! Texts from outside, made fit to be printed.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

/// The longest text from a provider that reaches an error, in characters.
const MAX_CHARS: usize = 300;
/// Shorter values are not treated as secrets: replacing them would garble every text and hide nothing.
const SHORTEST_SECRET: usize = 4;

/// `text` without control characters, terminal escapes, invisible and direction-changing characters and
/// `secrets`, on one line, at most [`MAX_CHARS`] long. `None` if nothing is left.
pub(crate) fn clean(text: &str, secrets: &[SecretString]) -> Option<String> {
    let mut text = one_line(text);
    // The longest first, so that a secret that contains another is replaced as a whole.
    let mut secrets: Vec<&str> =
        secrets.iter().map(ExposeSecret::expose_secret).filter(|s| s.len() >= SHORTEST_SECRET).collect();
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for spelling in [secret, &encoded] {
            if text.contains(spelling) {
                text = text.replace(spelling, "[redacted]");
            }
        }
    }
    // Cutting comes last: half a secret would no longer be recognised.
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        let keep = text[..end].char_indices().next_back().map_or(0, |(last, _)| last);
        text.truncate(keep);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// Whether `text` can be shown as it is.
pub(crate) fn is_printable(text: &str) -> bool {
    text.len() <= MAX_CHARS && !text.chars().any(|c| c.is_control() || is_invisible(c))
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(1024));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // `ESC ( B` and the like: intermediate bytes, then one final byte.
                Some('\u{20}'..='\u{2f}') => skip_until(&mut chars, |c| !('\u{20}'..='\u{2f}').contains(&c)),
                _ => {}
            },
            '\u{9b}' => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            c if c.is_whitespace() => {
                if !line.is_empty() && !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            c if c.is_control() || is_invisible(c) => {}
            c => line.push(c),
        }
    }
    line.truncate(line.trim_end().len());
    line
}

fn skip_until(chars: &mut impl Iterator<Item = char>, end: impl Fn(char) -> bool) {
    for c in chars {
        if end(c) {
            return;
        }
    }
}

/// Skips an operating system command or another string up to BEL, ST, or `ESC \`.
fn skip_string(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Zero-width characters, marks and overrides of direction, and tags: they show other text than is there.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        clean(text, &[]).unwrap_or_default()
    }

    #[test]
    fn escapes_and_control_characters_are_removed_whole() {
        assert_eq!(plain("a\u{1b}[31mred\u{1b}[0m b"), "ared b");
        assert_eq!(plain("x\u{1b}]0;title\u{7}y\u{1b}]8;;http://e\u{1b}\\z"), "xyz");
        assert_eq!(plain("\u{9b}2Jp\u{1b}(Bq\u{1b}cr"), "pqr");
        assert_eq!(plain("  two\r\n\tlines\0 "), "two lines");
        assert_eq!(plain("abc\u{202e}fed\u{200b}"), "abcfed");
        assert_eq!(plain("unfinished \u{1b}["), "unfinished");
        assert_eq!(clean("\u{1b}[0m \n", &[]), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let cut = plain(&"é".repeat(5000));
        assert_eq!(cut.chars().count(), MAX_CHARS);
        assert!(cut.ends_with("é…"));
        assert_eq!(plain(&"é".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
        assert!(!plain(&"é".repeat(MAX_CHARS)).ends_with('…'));
    }

    #[test]
    fn secrets_are_replaced_in_every_spelling() {
        let secrets = ["s3cret".into(), "s3cret+more".into(), "abc".into()];
        assert_eq!(clean("a s3cret+more b", &secrets).as_deref(), Some("a [redacted] b"));
        assert_eq!(clean("q=s3cret%2Bmore", &secrets).as_deref(), Some("q=[redacted]"));
        assert_eq!(clean("s3\u{0}cr\u{1b}[0met", &secrets).as_deref(), Some("[redacted]"));
        assert_eq!(clean("abcd", &secrets).as_deref(), Some("abcd"));
    }

    #[test]
    fn a_secret_at_the_cut_does_not_survive_in_part() {
        let text = format!("{}s3cret-token", "x".repeat(MAX_CHARS - 4));
        assert!(!clean(&text, &["s3cret-token".into()]).unwrap().contains("s3c"));
    }
}
