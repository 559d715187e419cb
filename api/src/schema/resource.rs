//! A resource type: its place in the table, its fields, links and actions.

use super::field::Field;
use super::types::{COMMON, COMMON_LINKS};
use super::validate::FieldError;
use serde_json::{Map, Value};

/// Checks several fields of a create together, after each one has passed alone.
pub type Rule = fn(&Map<String, Value>) -> Option<FieldError>;

/// A resource type.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// The schema's id in camelCase, for instance `container`.
    pub id: &'static str,
    /// Its plural, for instance `containers`.
    pub plural: &'static str,
    /// The type whose fields, links and actions it has too.
    base: Option<&'static Type>,
    /// Whether the fields that all resources share come with it; inputs of actions lack them.
    common: bool,
    own_fields: &'static [Field],
    own_links: &'static [Link],
    own_actions: &'static [Action],
    /// `GET` to list, `POST` to create.
    pub collection_methods: &'static [&'static str],
    /// `GET`, `PUT` to change, `DELETE` to remove.
    pub resource_methods: &'static [&'static str],
    /// Only admins, and accounts granted the type's id, may write.
    pub trusted: bool,
    /// Checks over several fields.
    pub rules: &'static [Rule],
}

/// Something that can be done to a resource beyond changing its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// The type of its input, if it takes any.
    pub input: Option<&'static str>,
}

/// A way from a resource to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: &'static str,
    /// The type it leads to.
    pub target: &'static str,
    /// How to get there.
    pub path: Path,
}

/// How a link finds what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// To the one whose id is in this field of ours.
    Own(&'static str),
    /// The same, shown as a list of none or one.
    OwnAsList(&'static str),
    /// To all those with our id in this field of theirs.
    Theirs(&'static str),
}

impl Link {
    /// To the one whose id is in our field.
    #[must_use]
    pub const fn one(name: &'static str, target: &'static str, field: &'static str) -> Self {
        Self { name, target, path: Path::Own(field) }
    }

    /// To none or one, by our field, shown as a list.
    #[must_use]
    pub const fn list(name: &'static str, target: &'static str, field: &'static str) -> Self {
        Self { name, target, path: Path::OwnAsList(field) }
    }

    /// To all those with our id in their field.
    #[must_use]
    pub const fn many(name: &'static str, target: &'static str, field: &'static str) -> Self {
        Self { name, target, path: Path::Theirs(field) }
    }
}

impl Action {
    /// An action without input.
    #[must_use]
    pub const fn plain(name: &'static str) -> Self {
        Self { name, input: None }
    }

    /// An action with input.
    #[must_use]
    pub const fn with(name: &'static str, input: &'static str) -> Self {
        Self { name, input: Some(input) }
    }
}

impl Type {
    /// A type that can be read and, so far, nothing else.
    #[must_use]
    pub const fn new(id: &'static str, plural: &'static str) -> Self {
        Self {
            id,
            plural,
            base: None,
            common: true,
            own_fields: &[],
            own_links: &[],
            own_actions: &[],
            collection_methods: &["GET"],
            resource_methods: &["GET"],
            trusted: false,
            rules: &[],
        }
    }

    /// The type of an object inside requests: neither listed nor read.
    #[must_use]
    pub const fn input(id: &'static str, plural: &'static str) -> Self {
        let mut kind = Self::new(id, plural);
        kind.common = false;
        kind.collection_methods = &[];
        kind.resource_methods = &[];
        kind
    }

    /// Stands below `base` and has all that it has.
    #[must_use]
    pub const fn below(mut self, base: &'static Type) -> Self {
        self.base = Some(base);
        self
    }

    /// Its own fields; one with the name of a base's or a common field replaces that.
    #[must_use]
    pub const fn fields(mut self, fields: &'static [Field]) -> Self {
        self.own_fields = fields;
        self
    }

    /// Its own links.
    #[must_use]
    pub const fn links(mut self, links: &'static [Link]) -> Self {
        self.own_links = links;
        self
    }

    /// Its own actions.
    #[must_use]
    pub const fn actions(mut self, actions: &'static [Action]) -> Self {
        self.own_actions = actions;
        self
    }

    /// Has only its own fields, none of the common ones.
    #[must_use]
    pub const fn without_common(mut self) -> Self {
        self.common = false;
        self
    }

    /// Can be created, changed and removed.
    #[must_use]
    pub const fn writable(mut self) -> Self {
        self.collection_methods = &["GET", "POST"];
        self.resource_methods = &["GET", "PUT", "DELETE"];
        self
    }

    /// Can be changed and removed, but comes into being by other means.
    #[must_use]
    pub const fn found(mut self) -> Self {
        self.resource_methods = &["GET", "PUT", "DELETE"];
        self
    }

    /// Only admins, and accounts granted the type's id, may write.
    #[must_use]
    pub const fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Checks over several fields.
    #[must_use]
    pub const fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }

    /// The type above this one.
    #[must_use]
    pub const fn base(&self) -> Option<&'static Type> {
        self.base
    }

    /// The topmost type: the one whose letters stand in ids.
    #[must_use]
    pub fn root(&'static self) -> &'static Type {
        self.base.map_or(self, Type::root)
    }

    /// The letters of its ids: the first letter and the capitals of the topmost type's id.
    #[must_use]
    pub fn letters(&'static self) -> String {
        let id = self.root().id;
        id.char_indices()
            .filter(|(at, letter)| *at == 0 || letter.is_ascii_uppercase())
            .map(|(_, letter)| letter.to_ascii_lowercase())
            .collect()
    }

    /// A resource's public id, for instance `1i12`.
    #[must_use]
    pub fn public_id(&'static self, number: i64) -> String {
        format!("1{}{number}", self.letters())
    }

    /// The number in a public id of this type; none when it is not one.
    #[must_use]
    pub fn number(&'static self, id: &str) -> Option<i64> {
        let digits = id.strip_prefix('1')?.strip_prefix(self.letters().as_str())?;
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    }

    /// All fields: the common ones, the base's and its own.
    pub fn all_fields(&'static self) -> impl Iterator<Item = &'static Field> {
        // The first mention of a name wins, so own fields replace a base's and common ones.
        let wins =
            |field: &&Field| self.field(field.name).is_none_or(|first| std::ptr::eq(first, *field));
        self.mentioned().filter(wins)
    }

    /// A field by its name.
    #[must_use]
    pub fn field(&'static self, name: &str) -> Option<&'static Field> {
        self.mentioned().find(|field| field.name == name)
    }

    fn mentioned(&'static self) -> impl Iterator<Item = &'static Field> {
        let common = if self.common { COMMON } else { &[] };
        self.lineage().flat_map(|kind| kind.own_fields).chain(common)
    }

    /// All links, own ones first.
    pub fn all_links(&'static self) -> impl Iterator<Item = &'static Link> {
        let common = if self.common { COMMON_LINKS } else { &[] };
        self.lineage().flat_map(|kind| kind.own_links).chain(common)
    }

    /// A link by its name, in any case.
    #[must_use]
    pub fn link(&'static self, name: &str) -> Option<&'static Link> {
        self.all_links().find(|link| link.name.eq_ignore_ascii_case(name))
    }

    /// All actions, own ones first.
    pub fn all_actions(&'static self) -> impl Iterator<Item = &'static Action> {
        self.lineage().flat_map(|kind| kind.own_actions)
    }

    /// An action by its name, in any case.
    #[must_use]
    pub fn action(&'static self, name: &str) -> Option<&'static Action> {
        self.all_actions().find(|action| action.name.eq_ignore_ascii_case(name))
    }

    /// Whether it can be created at all.
    #[must_use]
    pub fn creatable(&self) -> bool {
        self.collection_methods.contains(&"POST")
    }

    /// This type, then those above it.
    fn lineage(&'static self) -> impl Iterator<Item = &'static Type> {
        std::iter::successors(Some(self), |kind| kind.base)
    }
}
