//! Life-cycle events of domains: a thin shim over the raw binding, which has no safe wrapper for
//! them.
//!
//! libvirt delivers events from an event loop that its caller must run. One thread per process runs
//! libvirt's default loop for ever; it must be there before the first connection is opened. An
//! event carries no orders: it wakes the reconciler, and leaves a note how a domain ended, because
//! a transient domain that ended leaves nothing to ask.

use super::driver::End;
use super::libvirt::end_of;
use crate::reconcile::Wake;
use libc::{c_char, c_int, c_void};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use virt::connect::Connect;
use virt::error::Error;
use virt::sys;

/// Notes kept at most, against domains that somebody else starts and stops for ever.
const NOTES: usize = 10_000;

/// Starts libvirt's event loop, once per process.
pub(super) fn run_loop() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // libvirt's client prints every error on standard error unless told not to.
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl()?;
            let looping = || {
                loop {
                    if let Err(error) = virt::event::event_run_default_impl() {
                        tracing::error!("libvirt's event loop failed: {error}");
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                }
            };
            if let Err(error) =
                std::thread::Builder::new().name("libvirt-events".into()).spawn(looping)
            {
                // Machines still run; what ends is noticed a minute later at most.
                tracing::error!("cannot start libvirt's event loop: {error}");
            }
            Ok(())
        })
        .clone()
}

/// A registration for all life-cycle events of one connection; ends when dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    connect: Connect,
    id: c_int,
    notes: Arc<Notes>,
}

#[derive(Debug)]
struct Notes {
    wake: Wake,
    ended: Mutex<BTreeMap<String, End>>,
}

impl Subscription {
    /// Registers for the events of `connect`.
    pub(super) fn new(connect: &Connect, wake: Wake) -> Result<Self, Error> {
        let notes = Arc::new(Notes { wake, ended: Mutex::default() });
        let opaque = Arc::into_raw(Arc::clone(&notes)).cast_mut().cast::<c_void>();
        type Lifecycle = unsafe extern "C" fn(
            sys::virConnectPtr,
            sys::virDomainPtr,
            c_int,
            c_int,
            *mut c_void,
        ) -> c_int;
        type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
        // SAFETY: libvirt's API takes callbacks of all events as this one type and calls each with
        // the arguments of its event, which for VIR_DOMAIN_EVENT_ID_LIFECYCLE are `Lifecycle`'s.
        let callback =
            unsafe { std::mem::transmute::<Lifecycle, Generic>(on_lifecycle as Lifecycle) };
        // SAFETY: `connect` is open. `opaque` is a strong reference that lives until libvirt
        // calls `release` on it exactly once.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connect.as_ptr(),
                std::ptr::null_mut(),
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
                Some(callback),
                opaque,
                Some(release),
            )
        };
        if id < 0 {
            let error = Error::last_error();
            // SAFETY: a registration that failed does not take the reference over.
            unsafe { release(opaque) };
            return Err(error);
        }
        Ok(Self { connect: connect.clone(), id, notes })
    }

    /// How domains ended since the last time this was asked, ours and others'.
    pub(super) fn take_ended(&self) -> BTreeMap<String, End> {
        std::mem::take(&mut *self.notes.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // SAFETY: the connection is still referenced by us, and the id is one it gave out. An error
        // means that the connection is lost, and the registration with it.
        unsafe { sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), self.id) };
    }
}

unsafe extern "C" fn on_lifecycle(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: `opaque` is the reference given at registration, alive until `release`.
    let notes = unsafe { &*opaque.cast::<Notes>() };
    if event == sys::VIR_DOMAIN_EVENT_STOPPED as c_int {
        let mut text = [0 as c_char; sys::VIR_UUID_STRING_BUFLEN as usize];
        // SAFETY: the domain is valid during the call, and the buffer has the length the API wants.
        let outcome = unsafe { sys::virDomainGetUUIDString(domain, text.as_mut_ptr()) };
        if outcome == 0 {
            // SAFETY: a call that succeeded has written a terminated text.
            let uuid = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
            let mut ended = notes.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.len() < NOTES {
                ended.insert(uuid, end_of(detail));
            }
        }
    }
    notes.wake.wake();
    0
}

unsafe extern "C" fn release(opaque: *mut c_void) {
    // SAFETY: called once, with the pointer that `Arc::into_raw` gave.
    drop(unsafe { Arc::from_raw(opaque.cast_const().cast::<Notes>()) });
}
