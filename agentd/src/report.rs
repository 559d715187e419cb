//! Telling controld what this host observes.
//!
//! [`Sources`] knows where every part of a report comes from and puts them together; [`send`] sends
//! the whole truth when it changed, every minute, and to every controld that is new.

mod send;
mod sources;

pub use send::send;
#[cfg(test)]
pub(crate) use sources::tests;
pub use sources::{Sources, Survey, WatchedRound};
