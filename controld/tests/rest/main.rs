//! The REST dialect over a real core and a real socket, as clients meet it.

#![allow(clippy::unwrap_used)] // a test that finds no value has failed

mod documents;
mod foreign;
mod lists;
mod mutated;
mod refusals;
mod support;
