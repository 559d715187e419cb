//! An open network namespace with the socket to talk to it.

use crate::netlink::Netlink;
use crate::netns::{self, NetnsError};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

/// A network namespace that cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be opened.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The kernel gives no netlink socket in it.
    #[error("cannot open a netlink socket in a network namespace")]
    Netlink(#[source] io::Error),
}

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Keeps it alive and is the way in.
    pub file: File,
    /// Its netlink socket.
    pub netlink: Netlink,
}

impl Namespace {
    /// Opens the namespace at `path`, inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be opened or entered.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = netns::open(path)?;
        let netlink = Netlink::open(&file).map_err(OpenError::Netlink)?;
        Ok(Self { file, netlink })
    }

    /// The descriptor by which netlink messages name this namespace.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The index of the device called `name`, if there is one.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn index(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.link(name).await?.map(|link| link.header.index))
    }

    /// The device called `name`, if there is one.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn link(&self, name: &str) -> io::Result<Option<LinkMessage>> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.into()));
        Ok(match self.netlink.get(RouteNetlinkMessage::GetLink(question)).await? {
            Some(RouteNetlinkMessage::NewLink(link)) => Some(link),
            _ => None,
        })
    }

    /// All devices.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn links(&self) -> io::Result<Vec<LinkMessage>> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.netlink.dump(question).await?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link),
                _ => None,
            })
            .collect())
    }
}
