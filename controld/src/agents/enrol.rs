//! Enrolment: a token and proof of two keys in, a certificate out.

use super::Refused;
use crate::ca::Given;
use crate::clock;
use crate::core::{Core, Refusal};
use crate::draft::Draft;
use crate::intent::access::hash;
use crate::intent::hosts::{self, Enrolled};
use crate::model::{Body, Host, KnownFacts, Millis, RegistrationToken, Row, number_of};
use crate::world::World;
use api::enrol::{Request, Response};
use ed25519_dalek::{Signature, VerifyingKey};
use http::StatusCode;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Enrols a host, or repeats the answer to one that came with the same keys before.
///
/// # Errors
/// When the token is not good, or a key is not proved.
pub(super) async fn enrol(core: &Core, request: Request) -> Result<Response, Refused> {
    let token = {
        let state = core.0.shared.read();
        token_of(&state.world, &request)?.0
    };
    check_identity(&request)?;
    let uuid = uuid::Uuid::new_v4().to_string();
    let given = core
        .0
        .authority
        .sign(&request.csr, &uuid)
        .map_err(|error| Refused::invalid(crate::chain(&error)))?;
    let admin = core.0.admin;
    let row = core
        .0
        .writer
        .run(move |draft| Ok(enrol_once(draft, admin, token, request, uuid, given)))
        .await
        .map_err(|refusal| unavailable(&refusal))??;
    Ok(Response {
        certificate: row.1.certificate,
        ca: core.0.authority.pem().to_owned(),
        host: row.0,
        number: row.1.number,
    })
}

fn unavailable(refusal: &Refusal) -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", refusal.message.clone())
}

fn unknown() -> Refused {
    let message = "this token is not known here: make one with `controld token create`";
    Refused::new(StatusCode::UNAUTHORIZED, "token-unknown", message)
}

/// The token that a request names, if its secret is right and it was not taken back. A wrong id and
/// a wrong secret are told alike.
fn token_of<'a>(
    world: &'a World,
    request: &Request,
) -> Result<(i64, &'a RegistrationToken), Refused> {
    let row = number_of(&request.token_id).and_then(|id| world.row(id)).ok_or_else(unknown)?;
    let Body::RegistrationToken(token) = &row.body else { return Err(unknown()) };
    let given = hash(request.token_secret.expose());
    if !bool::from(given.as_bytes().ct_eq(token.secret_sha256.as_bytes())) {
        return Err(unknown());
    }
    if token.revoked || row.removed.is_some() {
        let message = "this token was taken back: ask for another";
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "token-revoked", message));
    }
    Ok((row.id, token))
}

/// The agent holds the key of the identity it names.
fn check_identity(request: &Request) -> Result<(), Refused> {
    let refuse = || Refused::invalid("the identity is not proved by a signature over the request");
    let key: [u8; 32] = hex::decode(&request.identity)
        .ok()
        .and_then(|key| key.try_into().ok())
        .ok_or_else(refuse)?;
    let proof: [u8; 64] = hex::decode(&request.identity_proof)
        .ok()
        .and_then(|proof| proof.try_into().ok())
        .ok_or_else(refuse)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| refuse())?;
    key.verify_strict(request.csr.as_bytes(), &Signature::from_bytes(&proof)).map_err(|_| refuse())
}

fn check_terms(token: &RegistrationToken, now: Millis) -> Result<(), Refused> {
    let refuse = |code, message: &str| Err(Refused::new(StatusCode::UNAUTHORIZED, code, message));
    if token.expires.is_some_and(|expires| expires <= now) {
        return refuse("token-expired", "this token has expired: ask for another");
    }
    if token.uses.is_some_and(|uses| token.used >= uses) {
        return refuse("token-used", "this token was used up: ask for another");
    }
    Ok(())
}

/// The host that came with these keys and this token before.
fn known<'a>(world: &'a World, token: i64, identity: &str, key: &str) -> Option<&'a Arc<Row>> {
    world.of_kind("host").filter(|row| row.removed.is_none()).find(|row| {
        row.host().is_some_and(|host| {
            host.token == token && host.identity == identity && host.key_sha256 == key
        })
    })
}

fn enrol_once(
    draft: &mut Draft<'_>,
    account: i64,
    token: i64,
    request: Request,
    uuid: String,
    given: Given,
) -> Result<(String, Host), Refused> {
    // Once more, since the token may have been used or taken back since it was looked at.
    let (_, terms) = token_of(draft.world(), &request)?;
    if let Some(row) = known(draft.world(), token, &request.identity, &given.key_sha256) {
        let Some(host) = row.host() else { return Err(unknown()) };
        if host.fenced {
            let message = "this host was taken out of the cloud";
            return Err(Refused::new(StatusCode::UNAUTHORIZED, "fenced", message));
        }
        return Ok((row.uuid.clone(), host.clone()));
    }
    check_terms(terms, clock::now())?;
    let host = Host {
        number: 0,
        hostname: hosts::host_name(&request.hostname),
        machine_id: request.machine_id,
        identity: request.identity,
        certificate: given.pem,
        certificate_sha256: given.sha256,
        key_sha256: given.key_sha256,
        token,
        simulated: request.simulated,
        active: true,
        fenced: false,
        facts: KnownFacts::default(),
    };
    let enrolled = Enrolled { token, host: host.clone(), uuid: uuid.clone() };
    let (_, number) =
        hosts::enrol(draft, account, enrolled).map_err(|refusal| unavailable(&refusal))?;
    Ok((uuid, Host { number, ..host }))
}
