//! Reading validated fields, and the references in them.

use crate::core::{Caller, Fields, Refusal};
use crate::draft::{Draft, NewRow};
use crate::model::{Body, Row, number_of};
use crate::world::World;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fields by name. Absent and null are the same to a reader.
pub struct Input(Fields);

impl From<Fields> for Input {
    fn from(fields: Fields) -> Self {
        Self(fields)
    }
}

impl Input {
    /// A text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// A truth value.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    /// A number that fits `T`.
    #[must_use]
    pub fn number<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        self.0.get(name).and_then(Value::as_i64).and_then(|number| number.try_into().ok())
    }

    /// A list of texts; none when it was not given.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.0.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// A map of texts.
    #[must_use]
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        let entries = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// A nested object.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        self.0.get(name).and_then(Value::as_object).cloned().map(Self)
    }

    /// Whether the field was given, be it as null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A row to add for `caller` with what all types share, after a check of its uuid.
    ///
    /// # Errors
    /// When the uuid exists, or the account does not.
    pub fn new_row(
        &self,
        draft: &Draft<'_>,
        caller: &Caller,
        body: Body,
    ) -> Result<NewRow, Refusal> {
        let account = match self.text("accountId") {
            Some(id) => {
                let row = find(draft.world(), caller, "account", "accountId", &id)?;
                row.id
            }
            None => caller.account,
        };
        let uuid = self.text("uuid");
        if let Some(uuid) = &uuid
            && is_taken(draft.world(), account, uuid)
        {
            return Err(Refusal::taken(uuid));
        }
        Ok(NewRow {
            account,
            uuid,
            name: self.text("name"),
            description: self.text("description"),
            data: self.0.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
            body,
        })
    }

    /// Writes what all types share into a row that is being updated.
    pub fn update_common(&self, row: &mut Row) {
        if self.has("name") {
            row.name = self.text("name");
        }
        if self.has("description") {
            row.description = self.text("description");
        }
        if let Some(data) = self.0.get("data").and_then(Value::as_object) {
            row.data = data.clone();
        }
    }
}

/// Whether an account may not use a uuid any more: its own ones, and those of seeded rows.
fn is_taken(world: &World, account: i64, uuid: &str) -> bool {
    world.with_uuid(uuid).any(|row| row.account == account || is_public(row))
}

/// Whether all accounts may see a row.
#[must_use]
pub fn is_public(row: &Row) -> bool {
    match &row.body {
        Body::Network(network) => network.is_public,
        Body::Subnet(subnet) => subnet.is_public,
        Body::Image(image) => image.is_public,
        _ => false,
    }
}

/// Whether a caller may see a row.
#[must_use]
pub fn may_see(caller: &Caller, row: &Row) -> bool {
    match &row.body {
        _ if caller.admin => true,
        Body::Account(_) => row.id == caller.account,
        _ => row.account == caller.account || is_public(row),
    }
}

/// Whether a caller may change a row.
#[must_use]
pub fn may_change(caller: &Caller, row: &Row) -> bool {
    caller.admin || row.account == caller.account
}

/// The row that a field refers to.
///
/// # Errors
/// When there is none of that kind that the caller may see, or it is removed.
pub fn find<'a>(
    world: &'a World,
    caller: &Caller,
    kind: &str,
    field: &str,
    id: &str,
) -> Result<&'a Arc<Row>, Refusal> {
    number_of(id)
        .and_then(|number| world.row(number))
        .filter(|row| row.is(kind) && row.removed.is_none() && may_see(caller, row))
        .ok_or_else(|| {
            Refusal::reference(
                field,
                format!("there is no {kind} {id}: list {kind}s to see which there are"),
            )
        })
}
