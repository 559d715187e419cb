//! The program itself: its command line, and what is left when it is killed.

// Helpers of tests may panic like tests.
#![allow(clippy::unwrap_used)]

mod command;
mod daemon;
mod durable;
