//! Who an agent is: its certificate names its host.

use super::Refused;
use crate::shared::State;
use http::StatusCode;

/// The number of the host that may use the paths of `uuid`.
///
/// # Errors
/// Without a certificate, with that of another or a removed host, or when the host is fenced.
pub(super) fn host(state: &State, certificate: Option<&str>, uuid: &str) -> Result<i64, Refused> {
    let refuse = |status, message: &str| Refused::new(status, "certificate", message);
    let Some(certificate) = certificate else {
        return Err(refuse(
            StatusCode::UNAUTHORIZED,
            "a client certificate is needed: enrol first",
        ));
    };
    let row = state.world.host_with_certificate(certificate);
    let Some((row, host)) = row.and_then(|row| Some((row, row.host()?))) else {
        return Err(refuse(StatusCode::UNAUTHORIZED, "no host has this certificate"));
    };
    if host.fenced {
        let message = "this host was taken out of the cloud";
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "fenced", message));
    }
    if row.removed.is_some() {
        return Err(refuse(StatusCode::UNAUTHORIZED, "this host was removed"));
    }
    if row.uuid != uuid {
        return Err(refuse(StatusCode::FORBIDDEN, "this certificate is another host's"));
    }
    Ok(row.id)
}
