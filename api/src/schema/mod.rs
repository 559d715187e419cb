//! The schema table: every resource type of `/v1`, written down once.
//!
//! Validation, the schema documents, filters and the names of links and actions all come from
//! [`types`]; nothing about a resource's shape is said anywhere else. A type stands in the table
//! only if it works. Does no I/O and knows no URLs but the base it is given for rendering; whether
//! a reference leads anywhere, and what a change means, is controld's business.

pub mod coerce;
pub mod field;
pub mod filter;
pub mod format;
pub mod render;
pub mod resource;
pub mod trust;
pub mod types;
pub mod validate;

pub use field::{Field, FieldType};
pub use resource::{Action, Link, Path, Type};
pub use trust::Grants;
pub use types::TABLE;
pub use validate::{Code, FieldError, validate_create, validate_update};

/// A type by its id or its plural, in any case: `container`, `Containers`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Type> {
    TABLE
        .iter()
        .copied()
        .find(|kind| kind.id.eq_ignore_ascii_case(name) || kind.plural.eq_ignore_ascii_case(name))
}

/// Whether `kind` is `base` or stands below it.
#[must_use]
pub fn is_a(kind: &Type, base: &Type) -> bool {
    kind.id == base.id || kind.base().is_some_and(|above| is_a(above, base))
}

#[cfg(test)]
mod tests;
