//! controld: the cloud's one thin daemon.
//!
//! It stores intent and allocations, answers the REST API, and hands every host the snapshot of
//! what that host should be. It never touches a host, and stores nothing that a host can tell it
//! again.

pub mod agents;
pub mod allocate;
pub mod args;
pub mod board;
pub mod ca;
pub mod clock;
pub mod compile;
pub mod config;
pub mod context;
pub mod core;
pub mod draft;
pub mod housekeeping;
pub mod intent;
pub mod judge;
pub mod model;
pub mod observed;
pub mod operator;
pub mod placement;
pub mod refusal;
pub mod reports;
pub mod rest;
pub mod serve;
pub mod shared;
pub mod show;
pub mod store;
pub mod view;
pub mod world;
pub mod writer;

/// An error with all its causes, as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
