//! Which comparisons a list can be narrowed by, from the type of each field.

use super::field::{Field, FieldType};

/// How a field is compared with a filter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Begins with.
    Prefix,
    /// Matches a pattern: `%` stands for any characters, `_` for one.
    Like,
    /// Does not match the pattern.
    NotLike,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lte,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gte,
    /// Has no value; the filter's own value is ignored.
    Null,
    /// Has a value; the filter's own value is ignored.
    NotNull,
}

const TEXT: &[Modifier] = &[
    Modifier::Eq,
    Modifier::Ne,
    Modifier::Prefix,
    Modifier::Like,
    Modifier::NotLike,
    Modifier::Null,
    Modifier::NotNull,
];
const ORDERED: &[Modifier] = &[
    Modifier::Eq,
    Modifier::Ne,
    Modifier::Lt,
    Modifier::Lte,
    Modifier::Gt,
    Modifier::Gte,
    Modifier::Null,
    Modifier::NotNull,
];
const EXACT: &[Modifier] = &[Modifier::Eq, Modifier::Ne, Modifier::Null, Modifier::NotNull];
const ALL: &[Modifier] = &[
    Modifier::Eq,
    Modifier::Ne,
    Modifier::Prefix,
    Modifier::Like,
    Modifier::NotLike,
    Modifier::Lt,
    Modifier::Lte,
    Modifier::Gt,
    Modifier::Gte,
    Modifier::Null,
    Modifier::NotNull,
];

impl Modifier {
    /// Its name in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Prefix => "prefix",
            Self::Like => "like",
            Self::NotLike => "notlike",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Null => "null",
            Self::NotNull => "notnull",
        }
    }

    /// The modifier of a name.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|modifier| modifier.name() == name)
    }
}

/// The modifiers a field can be filtered by; empty when it cannot.
#[must_use]
pub fn modifiers(field: &Field) -> &'static [Modifier] {
    if !field.shown {
        return &[];
    }
    match field.kind {
        FieldType::String => TEXT,
        FieldType::Int | FieldType::Date => ORDERED,
        FieldType::Boolean | FieldType::Enum(_) | FieldType::Reference(_) => EXACT,
        FieldType::Multiline
        | FieldType::Password
        | FieldType::Json
        | FieldType::Array(_)
        | FieldType::Map(_)
        | FieldType::Object(_) => &[],
    }
}
