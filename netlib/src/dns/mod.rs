//! The DNS server of one network on one host.
//!
//! It answers for the names and addresses of one network out of memory, with authority: what is
//! not there does not exist and is asked of nobody else. Everything beyond the network's own
//! domains, plain names and private reverse zones is forwarded to other resolvers, with a small
//! cache. Own answers live for [`OWN_TTL`] seconds, so that a moved name is seen soon.
//!
//! [`answer()`] is a pure function of a [`View`] and a question; [`open`] and [`serve`] carry
//! messages, with hickory's server. Who is on the network is decided elsewhere: whoever knows swaps a new view in.

mod answer;
mod forward;
mod handler;
mod reverse;
mod server;
mod tcp;
mod view;

pub use answer::{Answer, OWN_TTL, answer};
pub use server::{OpenError, ServeError, Sockets, open, serve};
pub use view::{DomainError, View, Zone};
