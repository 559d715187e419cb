//! Virtual machines on this host: domains, their disks, config drives and taps.
//!
//! [`reconciler`] makes one [`plan`] per pass and runs its steps ([`work`]) as jobs, through
//! [`driver`] (libvirt, or simulated) and [`ports`] (the host's networks). Images are fetched and
//! checked by [`images`]; what must survive a crash is kept by [`store`].
//!
//! Owns: domains whose metadata names our storage folder, the folders `machines` and `images` below
//! it, and the taps of its machines. Leaves alone: everything else that libvirt knows.

pub mod clean;
pub mod domain_xml;
pub mod driver;
mod events;
pub mod failure;
pub mod images;
pub mod kvm;
pub mod label;
pub mod libvirt;
pub mod open;
pub mod plan;
pub mod ports;
mod prepare;
pub mod reconciler;
pub mod record;
pub mod simulated;
pub mod status;
pub mod store;
pub mod tap;
pub mod work;

pub use clean::clean;
pub use libvirt::probe;
pub use ports::HostPorts;
pub use reconciler::Machines;
