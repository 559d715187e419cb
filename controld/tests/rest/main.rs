//! The REST dialect over a real core and a real socket, as clients meet it.

mod documents;
mod foreign;
mod lists;
mod mutated;
mod refusals;
mod support;
