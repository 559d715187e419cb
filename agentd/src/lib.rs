//! The host's daemon: makes a host be what its snapshot says, and tells what it sees.
//!
//! The way of a change: [`sync`] takes a snapshot, [`ledger`] makes it durable, [`desired`] gives it
//! meaning, and one reconciler per concern ([`networks`], [`services`], [`containers`],
//! [`machines`]) observes, plans, applies and verifies, driven by the loop in [`reconcile`].
//! [`report`] gathers what they say and sends it back.
//!
//! Owns: everything on the host whose name, label or table says so. Leaves alone: everything else.

pub mod args;
pub mod clean;
pub mod concerns;
pub mod config;
pub mod containers;
pub mod control;
pub mod controld;
pub mod describe;
pub mod desired;
pub mod doctor;
pub mod durable;
pub mod facts;
pub mod ledger;
pub mod lock;
pub mod machines;
pub mod networks;
pub mod overview;
pub mod probes;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod services;
pub mod survey;
pub mod sync;
