//! The table's rows, a file per group of types.

mod access;
mod host;
mod instance;
mod network;

use super::field::{Field, FieldType, boolean, date, int, map, one_of, reference, string};
use super::format::Format;
use super::resource::{Link, Type};

/// All types, in the order in which they are listed.
pub static TABLE: &[&Type] = &[
    &access::ACCOUNT,
    &instance::CONTAINER,
    &access::CREDENTIAL,
    &host::HOST,
    &network::HOST_ONLY_NETWORK,
    &host::IMAGE,
    &instance::INSTANCE,
    &instance::INSTANCE_STOP,
    &network::IP_ADDRESS,
    &network::NETWORK,
    &network::NIC,
    &access::REGISTRATION_TOKEN,
    &instance::RESTART_POLICY,
    &SCHEMA,
    &access::SSH_KEY,
    &network::SUBNET,
    &instance::VIRTUAL_MACHINE,
];

/// The states of everything but instances.
const STATES: &[&str] = &[
    "requested",
    "registering",
    "inactive",
    "activating",
    "active",
    "deactivating",
    "updating-active",
    "updating-inactive",
    "removing",
    "removed",
    "restoring",
    "purging",
    "purged",
];

/// What all resources have. The three fields of progress are there for types that change at once
/// too, since generic clients wait on any type.
pub(super) static COMMON: &[Field] = &[
    string("id"),
    string("type"),
    string("kind").about("The type in the narrow sense, for instance managed for a network"),
    string("uuid")
        .create()
        .shortest(1)
        .longest(128)
        .chars("A-Za-z0-9._:-")
        .about("A second create with the same uuid is refused with 409"),
    string("name").create().update().nullable().format(Format::Line),
    string("description").create().update().nullable().longest(1024),
    reference("accountId", "account")
        .create()
        .trusted_to_write()
        .about("The account it belongs to; an admin may create for others"),
    one_of("state", STATES),
    one_of("transitioning", &["yes", "no", "error"]),
    string("transitioningMessage").nullable().longest(1024),
    int("transitioningProgress").nullable().between(0, 100),
    date("created"),
    date("removed"),
    date("removeTime").about("When a removed resource is purged"),
    map("data", &FieldType::Json).create().update().about("Free for the owner's use"),
];

/// Where one can go from every resource.
pub(super) static COMMON_LINKS: &[Link] = &[Link::one("account", "account", "accountId")];

/// A schema: what can be asked of a type. Rendered from this table, stored nowhere.
static SCHEMA: Type = Type::new("schema", "schemas").without_common().fields(&[
    string("id"),
    string("type"),
    string("pluralName"),
    Field::new("collectionMethods", FieldType::Array(&FieldType::String)),
    Field::new("resourceMethods", FieldType::Array(&FieldType::String)),
    Field::new("includeableLinks", FieldType::Array(&FieldType::String)),
    Field::new("resourceFields", FieldType::Map(&FieldType::Json)),
    Field::new("collectionFilters", FieldType::Map(&FieldType::Json)),
    Field::new("resourceActions", FieldType::Map(&FieldType::Json)),
]);

/// Whether a trusted file system path stands in for something harmless.
fn starts_with_slash(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with('/'))
}

/// A switch that is off unless asked for.
const fn switch(name: &'static str) -> Field {
    boolean(name).default(super::field::Default::Bool(false))
}
