//! Accounts and what proves to be one.

use super::super::field::{Field, FieldType, array, date, one_of, string};
use super::super::format::Format;
use super::super::resource::{Action, Link, Type};

/// Whose a resource is.
pub(super) static ACCOUNT: Type = Type::new("account", "accounts")
    .writable()
    .trusted()
    .fields(&[
        one_of("kind", &["admin", "user"]).create().about("What it may do: all, or with its own"),
        string("externalId").create().nullable(),
        string("externalIdType").create().nullable(),
        array("defaultNetworkIds", &FieldType::Reference("network"))
            .update()
            .nullable()
            .about("The networks of an instance that names none; else the managed one"),
        array("defaultCredentialIds", &FieldType::Reference("credential"))
            .update()
            .nullable()
            .about("The keys of an instance that names none"),
        array("trustedFields", &FieldType::String)
            .create()
            .update()
            .nullable()
            .about("Fields that reach into the host which this account may use"),
    ])
    .links(&[Link::many("credentials", "credential", "accountId")]);

/// Anything that proves who somebody is.
pub(super) static CREDENTIAL: Type = Type::new("credential", "credentials");

/// A public key that guests are given.
pub(super) static SSH_KEY: Type =
    Type::new("sshKey", "sshKeys").below(&CREDENTIAL).writable().fields(&[string("publicValue")
        .required()
        .shortest(16)
        .longest(16_384)
        .format(Format::Line)
        .about("The key in the form of authorized_keys")]);

/// What a new host shows once to become a member of the cloud.
pub(super) static REGISTRATION_TOKEN: Type = Type::new("registrationToken", "registrationTokens")
    .below(&CREDENTIAL)
    .writable()
    .trusted()
    .fields(&[
        Field::new("token", FieldType::Password)
            .nullable()
            .about("Shown once, in the answer to its creation"),
        date("expires"),
    ])
    .actions(&[Action::plain("activate"), Action::plain("deactivate")]);
