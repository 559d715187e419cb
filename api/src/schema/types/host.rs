//! Hosts, and the images that guests on them start from.

use super::super::field::{Field, FieldType, boolean, date, int, map, one_of, string};
use super::super::format::Format;
use super::super::resource::{Action, Link, Type};
use serde_json::Value;

/// A server of the cloud. Comes into being by enrolment.
pub(super) static HOST: Type = Type::new("host", "hosts")
    .found()
    .trusted()
    .fields(&[
        string("hostname").nullable().about("As the host calls itself"),
        string("version").nullable().about("The version of its agentd"),
        int("number").nullable().about("1 to 65534; its addresses inside networks follow from it"),
        string("agentState").nullable().about("Whether its agentd is heard of"),
        date("lastSeen").about("When its agentd was last heard of, since controld's start"),
        string("address").nullable().about("Where other hosts reach it"),
        Field::new("addresses", FieldType::Array(&FieldType::String)).nullable(),
        int("cpus").nullable(),
        int("memoryMb").nullable(),
        int("memoryFreeMb").nullable(),
        map("capabilities", &FieldType::Json)
            .nullable()
            .about("What it was found able to do: for each name ok, and a detail for people"),
        map("conditions", &FieldType::String).nullable().about("What is wrong with it now"),
        map("errors", &FieldType::Json).nullable().about("Items it could not bring about, and why"),
        boolean("simulated"),
    ])
    .links(&[Link::many("instances", "instance", "hostId")])
    .actions(&[Action::plain("activate"), Action::plain("deactivate"), Action::plain("fence")]);

/// What a guest's disk or file system starts as.
pub(super) static IMAGE: Type = Type::new("image", "images")
    .writable()
    .fields(&[
        string("uuid")
            .create()
            .shortest(1)
            .longest(255)
            .chars("A-Za-z0-9._:/@+-")
            .about("What imageUuid of an instance names, for instance cirros or docker:nginx"),
        string("url")
            .required()
            .longest(2048)
            .format(Format::ImageUrl)
            .trusted_if(is_file)
            .about("Where its bytes are; a file URL names a file of the host"),
        string("checksum").create().update().nullable().longest(128).format(Format::Digest),
        boolean("isPublic")
            .create()
            .update()
            .default(super::super::field::Default::Bool(false))
            .about("Whether all accounts may use it"),
        one_of("format", &["qcow2", "raw"]).create().nullable(),
        one_of("instanceKind", &["container", "virtualMachine"])
            .create()
            .default(super::super::field::Default::Text("virtualMachine")),
    ])
    .links(&[Link::many("instances", "instance", "imageId")]);

/// A file of the host would be readable by whoever may name it.
fn is_file(url: &Value) -> bool {
    url.as_str().is_some_and(|url| url.starts_with("file:"))
}
