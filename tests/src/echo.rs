//! A TCP and UDP server inside a node that says which address it saw.

use crate::node::Node;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A listener inside a node; ends with the value.
pub struct Echo {
    address: SocketAddr,
    listener: TcpListener,
}

impl Echo {
    /// Starts to listen on `address` inside the node. Each client is told its address, on one line.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn listen(node: &Node, address: SocketAddr) -> Result<Self> {
        let listener = node.enter(|| TcpListener::bind(address))?.context("cannot listen")?;
        let serving = listener.try_clone()?;
        std::thread::spawn(move || {
            // Ends when the listener is shut down.
            while let Ok((mut client, from)) = serving.accept() {
                let _ = writeln!(client, "{}", from.ip());
            }
        });
        Ok(Self { address: listener.local_addr().unwrap_or(address), listener })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let socket = std::os::fd::AsRawFd::as_raw_fd(&self.listener);
        let _ = nix::sys::socket::shutdown(socket, nix::sys::socket::Shutdown::Both);
    }
}

/// Connects from inside a node and gives what the other side says until it closes.
///
/// # Errors
/// When there is no connection within two seconds.
pub fn ask(node: &Node, address: SocketAddr) -> Result<String> {
    let limit = Duration::from_secs(2);
    let stream = node.enter(|| TcpStream::connect_timeout(&address, limit))?;
    let mut stream = stream.with_context(|| format!("{} cannot reach {address}", node.name()))?;
    stream.set_read_timeout(Some(limit))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said.trim().to_owned())
}
