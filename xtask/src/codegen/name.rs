//! Turns names of a document into names of Rust, without two becoming one.

use std::collections::BTreeSet;

use heck::{ToPascalCase, ToSnakeCase};

/// Names that the generated code uses for something else.
const TAKEN: [&str; 6] = ["Box", "Option", "Self", "Some", "String", "Vec"];

const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

/// The Rust type name of some words of the document.
pub(crate) fn type_name(words: &str) -> String {
    let name = settled(&ascii(words), |name| {
        let name = name.to_pascal_case();
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name } else { format!("X{name}") }
    });
    if TAKEN.contains(&name.as_str()) { format!("{name}Schema") } else { name }
}

/// The Rust field name of a property.
pub(crate) fn field_name(property: &str) -> String {
    // Reactions are counted under these two names; the rules below would make one of them.
    let property = match property {
        "+1" => "plus_1",
        "-1" => "minus_1",
        other => other,
    };
    let name = settled(&ascii(property), |name| {
        let name = name.to_snake_case();
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name } else { format!("x{name}") }
    });
    if KEYWORDS.contains(&name.as_str()) { format!("{name}_") } else { name }
}

/// Gives out each name once: a second taker gets a number.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    pub(crate) fn take(&mut self, wanted: &str, numbered: impl Fn(usize) -> String) -> String {
        let free = |name: &String| !self.0.contains(name);
        let name = Some(wanted.to_owned())
            .filter(free)
            .or_else(|| (2..).map(numbered).find(free))
            .unwrap_or_else(|| wanted.to_owned());
        self.0.insert(name.clone());
        name
    }

    /// Takes a type name.
    pub(crate) fn take_type(&mut self, words: &str) -> String {
        let name = type_name(words);
        // With the case rules a number may join the word before it, so it has to be settled again.
        self.take(&name, |number| type_name(&format!("{name}{number}")))
    }

    /// Takes a field name.
    pub(crate) fn take_field(&mut self, property: &str) -> String {
        let name = field_name(property);
        self.take(&name, |number| field_name(&format!("{name}_{number}")))
    }
}

/// Anything but letters and digits separates words.
fn ascii(words: &str) -> String {
    words.replace('\'', "").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect()
}

/// Applies a rule until it changes nothing more: typify applies it again, and must not change our names.
fn settled(words: &str, rule: impl Fn(&str) -> String) -> String {
    let mut name = rule(words);
    loop {
        let next = rule(&name);
        if next == name {
            return name;
        }
        name = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_are_pascal_case_and_start_with_a_letter() {
        assert_eq!(type_name("charging_sub_session"), "ChargingSubSession");
        assert_eq!(type_name("EVSEModel"), "EvseModel");
        assert_eq!(type_name("3DSecure"), "X3dSecure");
        assert_eq!(type_name("io.k8s.Pod"), "IoK8sPod");
        assert_eq!(type_name("Größe"), "GrE");
        assert_eq!(type_name(""), "X");
    }

    #[test]
    fn a_type_name_that_the_generated_code_needs_is_given_away() {
        assert_eq!(type_name("option"), "OptionSchema");
        assert_eq!(type_name("self"), "SelfSchema");
    }

    #[test]
    fn type_names_do_not_change_when_the_rule_is_applied_again() {
        for words in ["a_b", "A.bC", "ABC", "aBcDEf", "x1y", "URLs", "v1.2-beta", "a_1_b"] {
            assert_eq!(type_name(&type_name(words)), type_name(words), "{words}");
        }
    }

    #[test]
    fn field_names_avoid_keywords_and_leading_digits() {
        assert_eq!(field_name("type"), "type_");
        assert_eq!(field_name("start__gt"), "start_gt");
        assert_eq!(field_name("2fa"), "x2fa");
        assert_eq!(field_name("@id"), "id");
        assert_eq!(field_name("+1"), "plus_1");
        assert_eq!(field_name(""), "x");
    }

    #[test]
    fn a_name_is_given_out_once() {
        let mut names = Names::default();
        assert_eq!(names.take_type("ABC"), "Abc");
        assert_eq!(names.take_type("A bC"), "Abc2");
        let mut fields = Names::default();
        assert_eq!(fields.take_field("fooBar"), "foo_bar");
        assert_eq!(fields.take_field("foo_bar"), "foo_bar_2");
        assert_eq!(fields.take_field("type"), "type_");
        assert_eq!(fields.take_field("Type"), "type_2");
    }
}
