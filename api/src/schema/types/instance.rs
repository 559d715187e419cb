//! Containers and virtual machines.

use super::super::field::{
    Default, Field, FieldType, array, boolean, int, map, one_of, reference, string,
};
use super::super::format::Format;
use super::super::resource::{Action, Link, Type};
use super::super::validate::{Code, FieldError};
use super::network::references;
use super::{starts_with_slash, switch};
use serde_json::{Map, Value};

/// Largest user data, in characters.
const USER_DATA: usize = 65_536;

const STATES: &[&str] = &[
    "requested",
    "creating",
    "starting",
    "running",
    "stopping",
    "stopped",
    "updating-running",
    "updating-stopped",
    "restarting",
    "migrating",
    "removing",
    "removed",
    "restoring",
    "purging",
    "purged",
];

/// What containers and virtual machines have in common. Both are read here, made elsewhere.
pub(super) static INSTANCE: Type = Type::new("instance", "instances")
    .fields(&[
        one_of("state", STATES),
        string("imageUuid")
            .create()
            .shortest(1)
            .about("The image's uuid; docker:name:tag for a container"),
        reference("imageId", "image")
            .create()
            .nullable()
            .about("The image's id, instead of imageUuid"),
        references("networkIds", &FieldType::Reference("network"))
            .about("A network interface on each; else on the account's default networks"),
        references("subnetIds", &FieldType::Reference("subnet"))
            .about("The same by subnets; not together with networkIds"),
        references("credentialIds", &FieldType::Reference("credential"))
            .about("Keys that the guest is given; else the account's default ones"),
        reference("requestedHostId", "host")
            .create()
            .nullable()
            .trusted()
            .about("The only host it may run on"),
        int("memoryMb").create().nullable().between(4, 16_777_216).about("Most memory, in MiB"),
        int("vcpu").create().nullable().between(1, 512).about("Number of processors"),
        string("hostname").create().nullable().longest(63).format(Format::Label),
        string("domain").nullable(),
        Field::new("userdata", FieldType::Multiline)
            .create()
            .update()
            .nullable()
            .longest(USER_DATA)
            .about("What the guest finds as user data"),
        one_of("instanceTriggeredStop", &["stop", "remove", "restart"])
            .create()
            .update()
            .default(Default::Text("stop"))
            .about("What becomes of it when it ends by itself"),
        boolean("startOnCreate").create().default(Default::Bool(true)),
        int("count").input_only().between(1, 1000).about("How many equal ones to make"),
        reference("hostId", "host").nullable().about("The host it is on"),
        string("primaryIpAddress").nullable().about("The address of its first network interface"),
        boolean("external").about("Made by hand on the host, shown here and otherwise left alone"),
    ])
    .links(&[
        Link::list("hosts", "host", "hostId"),
        Link::one("image", "image", "imageId"),
        Link::many("nics", "nic", "instanceId"),
        Link::many("ipAddresses", "ipAddress", "instanceId"),
    ])
    .actions(&[
        Action::plain("start"),
        Action::with("stop", "instanceStop"),
        Action::plain("restart"),
        Action::plain("remove"),
        Action::plain("restore"),
        Action::plain("purge"),
    ]);

/// A Docker container.
pub(super) static CONTAINER: Type = Type::new("container", "containers")
    .below(&INSTANCE)
    .writable()
    .fields(&[
        string("command")
            .create()
            .nullable()
            .longest(65_536)
            .about("The program to run instead of the image's; commandArgs follow it"),
        array("commandArgs", &FieldType::String)
            .create()
            .nullable()
            .about("Arguments of command, or of the image's entry point"),
        array("entryPoint", &FieldType::String).create().nullable(),
        map("environment", &FieldType::String).create().nullable(),
        string("directory")
            .create()
            .nullable()
            .longest(4096)
            .format(Format::Line)
            .about("Working directory"),
        string("user").create().nullable().format(Format::Line),
        map("labels", &FieldType::String).create().nullable(),
        array("dockerVolumes", &FieldType::String)
            .create()
            .nullable()
            .longest(100)
            .format(Format::Volume)
            .trusted_if(has_host_path)
            .about("name:/path, or a path of the host instead of the name"),
        switch("privileged").create().trusted().about("All powers of the host's root"),
        int("cpuShares").create().nullable().between(2, 262_144),
        array("dnsSearch", &FieldType::String)
            .create()
            .nullable()
            .longest(6)
            .format(Format::Domain)
            .about("Search domains behind the network's own"),
        Field::new("restartPolicy", FieldType::Object("restartPolicy"))
            .create()
            .nullable()
            .about("Whether it is started again; stands before instanceTriggeredStop"),
    ])
    .rules(&[image_is_given, networks_or_subnets]);

/// A virtual machine.
pub(super) static VIRTUAL_MACHINE: Type = Type::new("virtualMachine", "virtualMachines")
    .below(&INSTANCE)
    .writable()
    .fields(&[
        string("uuid")
            .create()
            .format(Format::Uuid)
            .about("Also the name and uuid of its domain on the host"),
        int("memoryMb")
            .create()
            .between(16, 16_777_216)
            .default(Default::Int(256))
            .about("Memory in MiB"),
        one_of("presentation", &["config-drive", "ec2", "nocloud", "none"])
            .create()
            .default(Default::Text("config-drive"))
            .about("How it finds its metadata"),
    ])
    .rules(&[image_is_given, networks_or_subnets, ec2_begins_with_ec2]);

/// What can be said when stopping an instance.
pub(super) static INSTANCE_STOP: Type = Type::input("instanceStop", "instanceStops")
    .fields(&[switch("remove").create().about("Remove it when it has stopped")]);

/// When a container that ended is started again.
pub(super) static RESTART_POLICY: Type = Type::input("restartPolicy", "restartPolicies").fields(&[
    one_of("name", &["no", "always", "on-failure"]).required(),
    int("maximumRetryCount")
        .create()
        .between(0, 1_000_000)
        .default(Default::Int(0))
        .about("With on-failure: how many times; 0 is without limit"),
]);

fn has_host_path(volumes: &Value) -> bool {
    volumes.as_array().is_some_and(|volumes| volumes.iter().any(starts_with_slash))
}

fn image_is_given(fields: &Map<String, Value>) -> Option<FieldError> {
    let missing = !fields.contains_key("imageUuid") && !fields.contains_key("imageId");
    missing.then(|| {
        let message =
            "an image must be given: imageUuid, for instance docker:nginx for a container";
        FieldError::new("imageUuid", Code::MissingRequired, message)
    })
}

fn networks_or_subnets(fields: &Map<String, Value>) -> Option<FieldError> {
    let both = fields.contains_key("networkIds") && fields.contains_key("subnetIds");
    both.then(|| {
        FieldError::new(
            "networkIds",
            Code::NetworkIdsSubnetIdsMutuallyExclusive,
            "networkIds and subnetIds are both given: a subnet names its network, leave one out",
        )
    })
}

/// Guests know EC2 by firmware whose uuid begins so; theirs is the instance's.
fn ec2_begins_with_ec2(fields: &Map<String, Value>) -> Option<FieldError> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let clash = text("presentation") == Some("ec2")
        && text("uuid").is_some_and(|uuid| !uuid.to_ascii_lowercase().starts_with("ec2"));
    clash.then(|| {
        let message = "with presentation ec2 the uuid must begin with 'ec2': leave uuid out, or \
                       choose another presentation";
        FieldError::new("uuid", Code::InvalidFormat, message)
    })
}
