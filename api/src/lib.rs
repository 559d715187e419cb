//! The contract between controld, agentd and their clients.
//!
//! Owns the words that travel: the items of a host's snapshot ([`item`]), the envelopes that carry
//! them ([`snapshot`]), the hash that proves both sides hold the same set ([`hash`]), what a host
//! tells back ([`report`]), enrolment ([`enrol`]) and the addresses both sides derive alike
//! ([`derive`]). Does no I/O, knows no clock and no runtime.

pub mod derive;
pub mod enrol;
pub mod hash;
pub mod item;
pub mod mac;
pub mod report;
pub mod schema;
pub mod secret;
pub mod snapshot;

/// Version of the agent protocol, `MAJOR.MINOR`, sent with every request as `x-stampede-proto`.
/// controld serves agents of its own major version and the one before.
pub const PROTO: &str = "1.0";

/// Header that carries [`PROTO`].
pub const PROTO_HEADER: &str = "x-stampede-proto";

/// Header of every answer of controld to an agent: the id of this run of controld. An agent that
/// sees a new one sends a full report.
pub const BOOT_HEADER: &str = "x-stampede-boot";
