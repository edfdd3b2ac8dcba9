//! Words from providers are hostile until shown to be words.

use std::borrow::Cow;

/// Makes control characters visible, so that no text can steer a terminal, and bounds the length.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    const MOST: usize = 2000;
    let hidden = |c: char| {
        c.is_control()
            // Marks that reorder or hide what stands around them.
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.len() <= MOST && !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    let mut short: String = text.chars().take(MOST).map(shown).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    Cow::Owned(short)
}

/// Keeps a spreadsheet from taking text for a formula. Numbers stay numbers.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_made_visible() {
        assert_eq!(visible("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(visible("right\u{202e}left"), "right\\u{202e}left");
        assert_eq!(visible("Grüße 東京"), "Grüße 東京");
        assert_eq!(visible(&"x".repeat(3000)).chars().count(), 2001);
    }

    #[test]
    fn formulas_are_neutralised_and_numbers_are_not() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("-5.5"), "-5.5");
        assert_eq!(cell("-x"), "'-x");
        assert_eq!(cell("Home"), "Home");
    }
}
