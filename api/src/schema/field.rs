//! One field of a resource type, in a style that reads like a table row.

use super::format::Format;
use serde_json::Value;

/// What a field's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// Text of several lines; any character.
    Multiline,
    /// A secret; shown only where a resource's owner needs it.
    Password,
    /// A whole number.
    Int,
    /// True or false.
    Boolean,
    /// A moment, RFC 3339 in UTC. Has a companion `<name>TS` in epoch milliseconds.
    Date,
    /// Any JSON value.
    Json,
    /// One of the given words.
    Enum(&'static [&'static str]),
    /// The id of a resource of the given type.
    Reference(&'static str),
    /// A list.
    Array(&'static FieldType),
    /// Values by name.
    Map(&'static FieldType),
    /// An object described by the type of this id.
    Object(&'static str),
}

impl FieldType {
    /// The name in schema documents, for instance `array[reference[network]]`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::String => "string".into(),
            Self::Multiline => "multiline".into(),
            Self::Password => "password".into(),
            Self::Int => "int".into(),
            Self::Boolean => "boolean".into(),
            Self::Date => "date".into(),
            Self::Json => "json".into(),
            Self::Enum(_) => "enum".into(),
            Self::Reference(to) => format!("reference[{to}]"),
            Self::Array(of) => format!("array[{}]", of.name()),
            Self::Map(of) => format!("map[{}]", of.name()),
            Self::Object(id) => (*id).into(),
        }
    }
}

/// A default; a plain type, since JSON values cannot stand in constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// Text, or a word of an enum.
    Text(&'static str),
}

impl Default {
    /// The default as JSON.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Self::Int(number) => number.into(),
            Self::Bool(flag) => flag.into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// Which values of a field need a grant, since they reach into the host.
#[derive(Clone, Copy, Debug)]
pub enum Trust {
    /// None.
    Open,
    /// All; the field is absent from the schema of an account without the grant.
    Field,
    /// All, but everybody may read it.
    Writing,
    /// Those the function picks out.
    Values(fn(&Value) -> bool),
}

/// A field of a resource type.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, in camelCase.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldType,
    /// May be given at creation.
    pub create: bool,
    /// May be changed later.
    pub update: bool,
    /// Must be given at creation.
    pub required: bool,
    /// May be set to null by a change.
    pub nullable: bool,
    /// No two resources of one account may have the same value.
    pub unique: bool,
    /// Part of the representation. An input that is not shown leaves its name free for a link.
    pub shown: bool,
    /// Taken when nothing is given.
    pub default: Option<Default>,
    /// Smallest number.
    pub min: Option<i64>,
    /// Largest number.
    pub max: Option<i64>,
    /// Fewest characters, or entries of a list or map.
    pub min_length: Option<usize>,
    /// Most characters, or entries of a list or map.
    pub max_length: Option<usize>,
    /// Characters a text may be made of, with ranges: `a-z0-9_-`.
    pub valid_chars: Option<&'static str>,
    /// A form the text must have.
    pub format: Option<Format>,
    /// Which values need a grant.
    pub trust: Trust,
    /// One sentence for people.
    pub about: &'static str,
}

impl Field {
    /// A field that is shown and cannot be written.
    #[must_use]
    pub const fn new(name: &'static str, kind: FieldType) -> Self {
        Self {
            name,
            kind,
            create: false,
            update: false,
            required: false,
            nullable: false,
            unique: false,
            shown: true,
            default: None,
            min: None,
            max: None,
            min_length: None,
            max_length: None,
            valid_chars: None,
            format: None,
            trust: Trust::Open,
            about: "",
        }
    }

    /// May be given at creation.
    #[must_use]
    pub const fn create(mut self) -> Self {
        self.create = true;
        self
    }

    /// May be changed later.
    #[must_use]
    pub const fn update(mut self) -> Self {
        self.update = true;
        self
    }

    /// Must be given at creation.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.create = true;
        self.required = true;
        self
    }

    /// May be set to null by a change.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// No two resources of one account may have the same value.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Given at creation and not shown afterwards.
    #[must_use]
    pub const fn input_only(mut self) -> Self {
        self.create = true;
        self.shown = false;
        self
    }

    /// Taken when nothing is given.
    #[must_use]
    pub const fn default(mut self, value: Default) -> Self {
        self.default = Some(value);
        self
    }

    /// Smallest and largest number.
    #[must_use]
    pub const fn between(mut self, min: i64, max: i64) -> Self {
        self.min = Some(min);
        self.max = Some(max);
        self
    }

    /// Most characters, or entries of a list or map.
    #[must_use]
    pub const fn longest(mut self, length: usize) -> Self {
        self.max_length = Some(length);
        self
    }

    /// Fewest characters, or entries of a list or map.
    #[must_use]
    pub const fn shortest(mut self, length: usize) -> Self {
        self.min_length = Some(length);
        self
    }

    /// Characters a text may be made of.
    #[must_use]
    pub const fn chars(mut self, valid: &'static str) -> Self {
        self.valid_chars = Some(valid);
        self
    }

    /// A form the text must have.
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Every value needs a grant.
    #[must_use]
    pub const fn trusted(mut self) -> Self {
        self.trust = Trust::Field;
        self
    }

    /// Every value needs a grant, but everybody may read it.
    #[must_use]
    pub const fn trusted_to_write(mut self) -> Self {
        self.trust = Trust::Writing;
        self
    }

    /// The values that the function picks out need a grant.
    #[must_use]
    pub const fn trusted_if(mut self, picks: fn(&Value) -> bool) -> Self {
        self.trust = Trust::Values(picks);
        self
    }

    /// One sentence for people.
    #[must_use]
    pub const fn about(mut self, sentence: &'static str) -> Self {
        self.about = sentence;
        self
    }
}

/// Text of at most 255 characters.
#[must_use]
pub const fn string(name: &'static str) -> Field {
    Field::new(name, FieldType::String).longest(255)
}

/// A whole number.
#[must_use]
pub const fn int(name: &'static str) -> Field {
    Field::new(name, FieldType::Int)
}

/// True or false.
#[must_use]
pub const fn boolean(name: &'static str) -> Field {
    Field::new(name, FieldType::Boolean)
}

/// A moment; never written by a client.
#[must_use]
pub const fn date(name: &'static str) -> Field {
    Field::new(name, FieldType::Date).nullable()
}

/// One of the given words.
#[must_use]
pub const fn one_of(name: &'static str, options: &'static [&'static str]) -> Field {
    Field::new(name, FieldType::Enum(options))
}

/// The id of a resource of type `to`.
#[must_use]
pub const fn reference(name: &'static str, to: &'static str) -> Field {
    Field::new(name, FieldType::Reference(to))
}

/// A list.
#[must_use]
pub const fn array(name: &'static str, of: &'static FieldType) -> Field {
    Field::new(name, FieldType::Array(of)).longest(1000)
}

/// Values by name.
#[must_use]
pub const fn map(name: &'static str, of: &'static FieldType) -> Field {
    Field::new(name, FieldType::Map(of)).longest(1000)
}
