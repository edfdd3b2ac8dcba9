//! Words from providers are hostile until shown to be words.

use std::borrow::Cow;

use rust_decimal::Decimal;

/// The most characters of a word that are shown.
const MOST: usize = 2000;

/// Makes control characters and marks that reorder text visible, so that no word can steer a terminal or turn a page
/// around, and bounds the length at 2000 characters.
///
/// ```
/// assert_eq!(charging_sessions_report::visible("a\u{202e}b"), "a\\u{202e}b");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| {
        c.is_control()
            // Marks that reorder or hide what stands around them.
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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

/// Keeps a spreadsheet from taking text for a formula, with an apostrophe before it. Numbers stay numbers.
///
/// ```
/// assert_eq!(charging_sessions_report::formula_safe("=1+1"), "'=1+1");
/// ```
pub fn formula_safe(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
        && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A figure with so many digits after the point, rounded half to even.
///
/// By hand, because formatting a decimal of 29 digits with a precision panics.
pub(crate) fn fixed(figure: Decimal, digits: u32) -> String {
    let mut text = figure.round_dp(digits).to_string();
    let given = text.split_once('.').map_or(0, |(_, after)| after.len());
    if given == 0 && digits > 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', (digits as usize).saturating_sub(given)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_were_asked_for_however_large() {
        let shown = |text: &str, digits| fixed(text.parse().unwrap(), digits);
        assert_eq!(shown("1.5", 3), "1.500");
        assert_eq!(shown("1.2345", 2), "1.23");
        assert_eq!(shown("-2", 2), "-2.00");
        assert_eq!(shown("7", 0), "7");
        assert_eq!(shown("79228162514264337593543950335", 6), "79228162514264337593543950335.000000");
    }

    #[test]
    fn terminal_escapes_are_made_visible() {
        assert_eq!(visible("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(visible("right\u{202e}left"), "right\\u{202e}left");
        assert_eq!(visible("Grüße 東京"), "Grüße 東京");
        assert_eq!(visible(&"x".repeat(3000)).chars().count(), 2001);
    }

    #[test]
    fn formulas_are_neutralised_and_numbers_are_not() {
        assert_eq!(formula_safe("=1+1"), "'=1+1");
        assert_eq!(formula_safe("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(formula_safe("\n=1"), "'\n=1");
        assert_eq!(formula_safe("-5.5"), "-5.5");
        assert_eq!(formula_safe("-x"), "'-x");
        assert_eq!(formula_safe("Home"), "Home");
    }
}
