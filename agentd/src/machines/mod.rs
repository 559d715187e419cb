//! Virtual machines: domains, their disks, drives and taps.
//!
//! Owns: domains whose metadata names our storage folder, and that folder. Leaves alone: everything
//! else that libvirt knows.

pub mod domain_xml;
pub mod driver;
pub mod kvm;
pub mod plan;
pub mod ports;
pub mod record;
pub mod store;
pub mod tap;
mod events;
pub mod images;
pub mod label;
pub mod libvirt;
