//! The way to controld: keys, enrolment, the pinned connection and how long to wait after a failure.

pub mod backoff;
pub mod client;
pub mod enrol;
pub mod keys;
pub mod pin;
