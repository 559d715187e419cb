//! Virtual machines: domains, their disks, drives and taps.
//!
//! Owns: domains whose metadata names our storage folder, and that folder. Leaves alone: everything
//! else that libvirt knows.

pub mod domain_xml;
pub mod driver;
mod events;
pub mod label;
pub mod libvirt;
