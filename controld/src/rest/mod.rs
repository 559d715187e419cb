//! The REST dialect over the core: `/v1`, `/ping`, `/healthcheck`, `/metrics`.
//!
//! Owns everything that is HTTP: who may ask from where ([`guard`]), what a URL names ([`route`]),
//! how bodies are read ([`body`]), lists ([`collection`]), documents ([`document`]) and errors
//! ([`fault`]). What a resource is stands in `api::schema`; what a change means is the core's.

mod authenticate;
mod body;
mod collection;
mod document;
mod fault;
mod filters;
mod guard;
mod handle;
mod metrics;
mod page;
mod read;
mod request;
mod route;
mod server;
mod wait;
mod write;

pub use guard::loopback;
pub use server::{Options, serve};
