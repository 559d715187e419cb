//! controld as agents see it: over real TLS on loopback, by an agent that is all simulated.

// Helpers of tests may panic like tests.
#![allow(clippy::unwrap_used)]

mod agent;
mod cloud;
mod enrolment;
mod life;
mod restart;
mod room;
