//! The DHCP server of one network on one host (RFC 2131, RFC 2132, RFC 3442).
//!
//! It tells each guest that lives on this host the one address that was allocated for it: no
//! dynamic range, no lease file, no timer. Leases never end, so a guest goes on when the server is
//! gone for a month. Unknown Ethernet addresses get no answer at all.
//!
//! [`answer()`] is a pure function of a [`View`] and a packet; [`open`] and [`serve`] carry packets.
//! Which guests there are is decided elsewhere: whoever knows swaps a new view in.

mod answer;
mod question;
mod server;
mod view;

pub use answer::{Reply, answer};
pub use server::{OpenError, ServeError, open, serve};
pub use view::{Lease, Settings, View};
