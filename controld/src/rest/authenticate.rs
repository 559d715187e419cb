//! Who is asking.

use super::fault::Fault;
use super::server::Options;
use crate::core::Caller;

/// The caller of a request. Old clients without keys send a made-up pair, so that with
/// [`Options::everybody`] keys are not looked at.
///
/// # Errors
/// When nobody in particular may ask.
pub fn caller(options: &Options) -> Result<Caller, Fault> {
    options.everybody.clone().ok_or(Fault::Unauthenticated)
}
