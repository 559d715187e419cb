//! An instance's metadata in every form that guests look for.
//!
//! One [`Instance`] goes in; EC2's tree, OpenStack's documents, a NoCloud seed, a config drive and
//! an HTTP service come out. The same answers go to virtual machines and to containers. This crate
//! knows nothing of networks, Docker or libvirt: who asks is told to it by whoever listens.
//!
//! User data are arbitrary bytes on every path, and never logged.

mod configdrive;
mod ec2;
mod instance;
mod nocloud;
mod openstack;
mod path;
mod respond;
mod service;
mod token;
mod tree;

pub use configdrive::{Drive, DriveError, Kind, config_drive, is_drive_of};
pub use instance::{Address, Instance, Nic, UserData};
pub use respond::{Method, Reply, Request, respond};
pub use service::{Lookup, ServeError, serve};
pub use token::{KeyError, Tokens};
