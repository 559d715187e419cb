//! controld: the cloud's one thin daemon.
//!
//! It stores intent and allocations, answers the REST API, and hands every host the snapshot of
//! what that host should be. It never touches a host, and stores nothing that a host can tell it
//! again.

pub mod core;
pub mod rest;
