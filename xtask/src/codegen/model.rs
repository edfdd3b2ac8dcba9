//! What is generated, after everything OpenAPI allows has been brought to a few forms.

use super::name::Names;

/// All types of one provider, named and in order.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) structs: Vec<Struct>,
    /// Roots that are not structs.
    pub(crate) aliases: Vec<Alias>,
    /// The names that are given out, for those who add more.
    pub(crate) names: Names,
}

/// An object with known properties.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) fields: Vec<Field>,
}

/// A property: always optional, always nullable.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The property's name in JSON.
    pub(crate) wire: String,
    pub(crate) doc: Vec<String>,
    pub(crate) kind: Type,
    /// The words the document knows, of a string.
    pub(crate) words: Vec<String>,
}

/// A name for a type that needs no struct.
#[derive(Debug)]
pub(crate) struct Alias {
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) kind: Type,
}

/// The few types that remain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    /// Anything: kept as JSON.
    Any,
    Boolean,
    Date,
    Integer,
    Number,
    Text,
    Timestamp,
    /// An element that may be null; a field is optional anyway.
    Nullable(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    /// A string, or the object it links to.
    Link(Box<Type>),
    /// A value, or a list of such values.
    OneOrMany(Box<Type>),
    /// A struct, by its position in the model.
    Struct(usize),
}

impl Model {
    /// The type as Rust writes it.
    pub(crate) fn rust(&self, kind: &Type) -> String {
        match kind {
            Type::Any => "serde_json::Value".to_owned(),
            Type::Boolean => "bool".to_owned(),
            Type::Date => "jiff::civil::Date".to_owned(),
            Type::Integer => "i64".to_owned(),
            Type::Number => "f64".to_owned(),
            Type::Text => "String".to_owned(),
            Type::Timestamp => "jiff::Timestamp".to_owned(),
            Type::Nullable(inner) => format!("Option<{}>", self.rust(inner)),
            Type::List(inner) => format!("Vec<{}>", self.rust(inner)),
            Type::Map(inner) => match **inner {
                Type::Any => "serde_json::Map<String, serde_json::Value>".to_owned(),
                _ => format!("std::collections::BTreeMap<String, {}>", self.rust(inner)),
            },
            Type::Link(inner) => format!("charging_sessions_http::Link<{}>", self.rust(inner)),
            Type::OneOrMany(inner) => format!("charging_sessions_http::OneOrMany<{}>", self.rust(inner)),
            Type::Struct(index) => {
                self.structs.get(*index).map_or_else(String::new, |found| found.name.clone())
            }
        }
    }
}
