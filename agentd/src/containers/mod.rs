//! Containers on this host: Docker's network driver, and the reconciler that makes containers be
//! what the snapshot says.
//!
//! Docker calls [`plugin`] while a container starts, so its network stands before its first
//! process, also when people restart or start containers by hand. [`reconciler`] drives Docker
//! through [`driver`]: one [`plan`] per pass, its [`steps`] as [`jobs`].
//!
//! Owns: containers named `stampede-<uuid>` with our label, Docker networks and volumes with our
//! label, the plugin's socket. Leaves alone: everything else in Docker; containers that others put
//! on our networks are told of ([`adoption`]) and never started, stopped or removed.

pub mod adoption;
pub mod attach;
pub mod book;
pub mod clean;
pub mod creation;
pub mod docker;
mod docker_model;
pub mod driver;
pub mod interruptions;
pub mod ipam;
pub mod jobs;
pub mod journal;
pub mod kernel;
pub mod network_driver;
pub mod open;
pub mod plan;
pub mod plugin;
pub mod protocol;
pub mod reconciler;
pub mod runs;
pub mod simulated;
pub mod steps;
pub mod view;
pub mod volumes;

pub use clean::clean;
pub use docker::probe;
pub use kernel::KernelAttacher;
pub use open::OpenError;
pub use reconciler::Containers;

#[cfg(test)]
mod fixture;
