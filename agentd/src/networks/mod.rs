//! Managed networks of this host: what the snapshot says becomes what the kernel does.

mod ready;

pub use ready::{NotReady, Ready, ReadyNetworks};
