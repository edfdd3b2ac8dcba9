//! Text that PostgreSQL has no room for: the character U+0000.

use std::borrow::Cow;

use crate::columns::Damaged;

/// What stands for U+0000, and for U+0001, which it begins with.
const NUL: &str = "\u{1}\u{1}";
const ONE: &str = "\u{1}\u{2}";

/// Text as it is written. What differs stays different, and the order stays the same: U+0000 is below U+0001, as what
/// stands for it is.
pub(super) fn written(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\u{1}']) {
        return text.into();
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => written.push_str(NUL),
            '\u{1}' => written.push_str(ONE),
            other => written.push(other),
        }
    }
    written.into()
}

/// Text as it was before it was written.
pub(super) fn read(text: &str) -> Result<Cow<'_, str>, Damaged> {
    if !text.contains('\u{1}') {
        return Ok(text.into());
    }
    let mut read = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        read.push(match character {
            '\u{1}' => match characters.next() {
                Some('\u{1}') => '\0',
                Some('\u{2}') => '\u{1}',
                _ => return Err(Damaged),
            },
            other => other,
        });
    }
    Ok(read.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_keeps_its_place() {
        let parts = ["", "\0", "\u{1}", "\u{2}", "a", "é"];
        let mut texts: Vec<String> = Vec::new();
        for a in parts {
            for b in parts {
                texts.extend(parts.map(|c| format!("{a}{b}{c}")));
            }
        }
        texts.sort();
        texts.dedup();
        let all: Vec<_> = texts.iter().map(|text| written(text).into_owned()).collect();
        assert!(all.is_sorted() && all.iter().all(|text| !text.contains('\0')));
        for (text, written) in texts.iter().zip(&all) {
            assert_eq!(read(written).unwrap(), *text);
        }
        let plain = "plain \u{3}é";
        assert!(matches!(written(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn what_we_never_write_is_damage() {
        for text in ["\u{1}", "\u{1}x", "a\u{1}\u{3}"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
