//! Tap devices of machines, made in the agent's own network namespace.
//!
//! A tap is made persistent and without an owner, so that it is there before QEMU and after it. libvirt
//! opens it by name; afterwards it is moved into its network's namespace, and QEMU keeps its
//! descriptor. Its name is the endpoint's, see [`netlib::names::device_name`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// What went wrong with a tap.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} tap device {name}")]
pub struct TapError {
    action: &'static str,
    name: String,
    #[source]
    source: io::Error,
}

/// The calls of linux/if_tun.h, by their numbers.
mod calls {
    #![allow(missing_docs, reason = "the macros take no documentation")]

    nix::ioctl_write_ptr_bad!(set_interface, nix::request_code_write!(b'T', 202, 4), libc::ifreq);
    nix::ioctl_write_int_bad!(set_persist, nix::request_code_write!(b'T', 203, 4));
}

/// Makes the tap `name` unless it is there. True when it was made.
///
/// # Errors
/// When the kernel refuses, for instance because a device of another kind has the name.
pub fn make(name: &str) -> Result<bool, TapError> {
    let failed = |source| TapError { action: "make", name: name.into(), source };
    if exists(name) {
        return Ok(false);
    }
    persist(&open(name).map_err(failed)?, true).map_err(failed)?;
    Ok(true)
}

/// Removes the tap `name`, if it is in this namespace. True when it was.
///
/// # Errors
/// When the kernel refuses, or the device is none of ours.
pub fn remove(name: &str) -> Result<bool, TapError> {
    let failed = |source| TapError { action: "remove", name: name.into(), source };
    if !exists(name) {
        return Ok(false);
    }
    persist(&open(name).map_err(failed)?, false).map_err(failed)?;
    Ok(true)
}

fn exists(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

/// Opens the tap, which makes it if it is not there. It ends with the file unless it persists.
fn open(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all zeroes are a valid value of this structure of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // With the header that virtio guests need for offloads; libvirt opens it the same way.
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open and the structure is what TUNSETIFF reads.
    unsafe { calls::set_interface(file.as_raw_fd(), &request) }?;
    Ok(file)
}

fn persist(file: &File, yes: bool) -> io::Result<()> {
    // SAFETY: the descriptor is open; TUNSETPERSIST takes an integer.
    unsafe { calls::set_persist(file.as_raw_fd(), i32::from(yes)) }?;
    Ok(())
}
