//! Who may use fields and types that reach into a host.

use super::field::{Field, Trust};
use super::resource::Type;
use serde_json::Value;
use std::collections::BTreeSet;

/// What an account may do beyond the ordinary.
#[derive(Clone, Copy, Debug)]
pub struct Grants<'a> {
    /// Everything.
    pub admin: bool,
    /// Names of trusted fields, and ids of trusted types, granted one by one.
    pub names: &'a BTreeSet<String>,
}

static NOTHING: BTreeSet<String> = BTreeSet::new();

impl Grants<'static> {
    /// An admin's.
    pub const ADMIN: Self = Self { admin: true, names: &NOTHING };
    /// An ordinary account's.
    pub const PLAIN: Self = Self { admin: false, names: &NOTHING };
}

impl Grants<'_> {
    /// Whether this field is there at all for the account.
    #[must_use]
    pub fn show(&self, field: &Field) -> bool {
        !matches!(field.trust, Trust::Field) || self.have(field.name)
    }

    /// Whether the account may write this field at all.
    #[must_use]
    pub fn write_field(&self, field: &Field) -> bool {
        !matches!(field.trust, Trust::Field | Trust::Writing) || self.have(field.name)
    }

    /// Whether the account may give this field this value.
    #[must_use]
    pub fn allow(&self, field: &Field, value: &Value) -> bool {
        let needed = match field.trust {
            Trust::Open => false,
            Trust::Field | Trust::Writing => true,
            Trust::Values(picks) => picks(value),
        };
        !needed || self.have(field.name)
    }

    /// Whether the account may create, change, remove or act on resources of this type.
    #[must_use]
    pub fn write(&self, kind: &Type) -> bool {
        !kind.trusted || self.have(kind.id)
    }

    fn have(&self, name: &str) -> bool {
        self.admin || self.names.contains(name)
    }
}
