//! Changes of intent: what a request, a report or the passing of time does to rows.
//!
//! Every function works on a [`crate::draft::Draft`] inside the writer, checks before it changes,
//! and refuses with the field's name and a remedy.

pub mod access;
pub mod adopt;
pub mod establish;
pub mod hosts;
pub mod input;
pub mod instances;
pub mod life;
pub mod networks;
pub mod reserve;
pub mod seed;
