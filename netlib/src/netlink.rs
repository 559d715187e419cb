//! One netlink socket per namespace, usable from any task: requests with their answers, dumps, and
//! many requests at a time.
//!
//! The socket is opened by a thread inside the namespace and belongs to it for good. Requests on
//! one socket are served in the order they are sent. The kernel's refusals keep their errno.

use crate::netns;
use futures_util::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use std::fs::File;
use std::io;

/// How a request treats what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It must not be there.
    Create,
    /// It may be there and is changed to what is asked.
    Replace,
    /// It must be there: change or delete it.
    Change,
}

impl Manner {
    fn flags(self) -> u16 {
        NLM_F_REQUEST
            | NLM_F_ACK
            | match self {
                Self::Create => NLM_F_CREATE | NLM_F_EXCL,
                Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
                Self::Change => 0,
            }
    }
}

/// A netlink socket of one namespace.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
}

impl Netlink {
    /// Opens a socket in `namespace`. Must be called inside a tokio runtime, which then drives it
    /// until the last clone is dropped.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the socket cannot be opened.
    pub fn open(namespace: &File) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = netns::within(namespace, || {
            let _entered = runtime.enter();
            rtnetlink::new_connection()
        })??;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Sends a request and waits for the kernel's word on it.
    ///
    /// # Errors
    /// The kernel's errno, or a broken connection.
    pub async fn ask(&self, message: RouteNetlinkMessage, manner: Manner) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = manner.flags();
        let mut answers = self.handle.clone().request(request).map_err(io::Error::other)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(error.to_io());
            }
        }
        Ok(())
    }

    /// Asks for one object and returns it, or nothing when the kernel does not have it.
    ///
    /// # Errors
    /// The kernel's errno (other than "no such device"), or a broken connection.
    pub async fn get(
        &self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        match self.collect(message, NLM_F_REQUEST).await {
            Ok(answers) => Ok(answers.into_iter().next()),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for all objects of a kind.
    ///
    /// # Errors
    /// The kernel's errno, or a broken connection.
    pub async fn dump(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.collect(message, NLM_F_REQUEST | NLM_F_DUMP).await
    }

    async fn collect(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answers = self.handle.clone().request(request).map_err(io::Error::other)?;
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(object) => found.push(object),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                _ => {}
            }
        }
        Ok(found)
    }
}
