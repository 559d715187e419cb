//! Containers on this host: Docker's network driver, and the reconciler that makes containers be
//! what the snapshot says.

pub mod attach;
pub mod book;
pub mod ipam;
pub mod journal;
pub mod network_driver;
pub mod plugin;
pub mod protocol;

#[cfg(test)]
mod fixture;
