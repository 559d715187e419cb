//! Our nft tables: `inet stampede` in every namespace we work in, `bridge stampede` in networks'.
//!
//! Rules are written once, as nft files; members are in sets and maps, and a change of members is
//! one transaction of elements. Other people's tables are never listed, parsed or touched.

pub mod command;
pub mod element;
pub mod generation;
pub mod listing;
pub mod ruleset;
pub mod table;

pub use command::NftError;
pub use ruleset::Ruleset;
pub use table::Tables;
