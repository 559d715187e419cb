//! Becoming a host of a cloud, once.
//!
//! The keys are made first and the certificate is kept before it is used, so that a retry after a
//! crash at any point gets the same answer from controld.

use super::backoff::{Backoff, random};
use super::client::{CallError, Client, Reply};
use super::keys::{Keys, KeysError};
use super::pin::{self, PinError};
use crate::config::Config;
use crate::desired::chain;
use crate::durable::{self, DurableError};
use api::enrol::{ParseTokenError, Refusal, Request, Response, Token};
use http::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A host's membership of a cloud, and the way to its controld.
#[derive(Debug)]
pub struct Membership {
    /// The host's uuid, which names it in the agent's URLs.
    pub host: String,
    /// The host's number.
    pub number: u16,
    /// The way to controld.
    pub client: Client,
}

/// Why the host is no member of a cloud.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Nobody said where controld is.
    #[error("no controld is set: give --controld https://host:9443 or the key `controld`")]
    NoControld,
    /// The host is new and has no token.
    #[error(
        "this host is not enrolled and has no registration token: make one with `controld token create` and give it by --token-file or STAMPEDE_TOKEN"
    )]
    NoToken,
    /// The token's file cannot be read.
    #[error("cannot read registration token file {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token is not one.
    #[error("cannot use the registration token")]
    Token(#[from] ParseTokenError),
    /// There are no keys.
    #[error("cannot enrol without keys")]
    Keys(#[from] KeysError),
    /// TLS cannot be set up.
    #[error("cannot set up the connection to controld")]
    Pin(#[from] PinError),
    /// The address of controld cannot be used.
    #[error("cannot set up the connection to controld")]
    Client(#[from] CallError),
    /// The membership cannot be kept.
    #[error("cannot keep the membership")]
    Keep(#[from] DurableError),
    /// The kept membership or controld's answer is damaged.
    #[error("cannot read {what}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// controld's answer names another CA than the token.
    #[error("controld answered with another CA than the registration token names")]
    OtherCa,
    /// controld refused for good.
    #[error("controld refused to enrol this host ({code}): {message}")]
    Refused {
        /// Short and stable.
        code: String,
        /// For people.
        message: String,
    },
}

/// The membership kept in the data folder, or a new one. Waits for a controld that is away.
///
/// # Errors
/// What waiting cannot cure; see [`EnrolError`].
pub async fn membership(config: &Config) -> Result<Membership, EnrolError> {
    durable::folder(&config.data)?;
    let url = config.controld.as_deref().ok_or(EnrolError::NoControld)?;
    let keys = Keys::open(&config.data)?;
    let path = config.data.join("membership.json");
    let kept = match durable::read(&path)? {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|source| EnrolError::Damaged { what: "the kept membership", source })?,
        None => enrol(config, url, &keys, &path).await?,
    };
    let tls = pin::enrolled(&kept.ca, &kept.certificate, keys.tls.expose())?;
    Ok(Membership { host: kept.host, number: kept.number, client: Client::new(url, tls)? })
}

async fn enrol(
    config: &Config,
    url: &str,
    keys: &Keys,
    path: &Path,
) -> Result<Response, EnrolError> {
    let token = token(config)?;
    let client = Client::new(url, pin::before_enrolment(&token.ca_sha256)?)?;
    let body = serde_json::to_vec(&request(config, keys, &token)?)
        .map_err(|source| EnrolError::Damaged { what: "the request to enrol", source })?;
    let mut backoff = Backoff::default();
    loop {
        let answer = client.call(Method::POST, "/v1/agent/enrol", body.clone(), PATIENCE).await;
        let why = match answer {
            Ok(reply) if reply.status.is_success() => {
                let response = accept(&reply, &token)?;
                let bytes = serde_json::to_vec(&response)
                    .map_err(|source| EnrolError::Damaged { what: "the membership", source })?;
                durable::write(path, &bytes)?;
                tracing::info!(host = response.host, number = response.number, "enrolled");
                return Ok(response);
            }
            Ok(reply) if is_final(reply.status) => {
                let Refusal { code, message } = reply.refusal();
                return Err(EnrolError::Refused { code, message });
            }
            Ok(reply) => reply.refusal().message,
            Err(error) => chain(&error),
        };
        let pause = backoff.failed(random());
        tracing::warn!(?pause, "cannot enrol yet: {why}");
        tokio::time::sleep(pause).await;
    }
}

fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && status != StatusCode::REQUEST_TIMEOUT
}

fn request(config: &Config, keys: &Keys, token: &Token) -> Result<Request, EnrolError> {
    let csr = keys.certificate_request()?;
    Ok(Request {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        identity: keys.identity(),
        identity_proof: keys.sign(csr.as_bytes()),
        csr,
        machine_id: keys.machine_id.clone(),
        hostname: crate::facts::hostname(),
        simulated: config.simulate,
    })
}

fn accept(reply: &Reply, token: &Token) -> Result<Response, EnrolError> {
    let response: Response = serde_json::from_str(&reply.body)
        .map_err(|source| EnrolError::Damaged { what: "controld's answer", source })?;
    if !pin::fingerprint_of(&response.ca)?.eq_ignore_ascii_case(&token.ca_sha256) {
        return Err(EnrolError::OtherCa);
    }
    Ok(response)
}

fn token(config: &Config) -> Result<Token, EnrolError> {
    if let Some(token) = &config.token {
        return Ok(token.expose().parse()?);
    }
    let path = config.token_file.clone().ok_or(EnrolError::NoToken)?;
    let text =
        std::fs::read_to_string(&path).map_err(|source| EnrolError::TokenFile { path, source })?;
    Ok(text.parse()?)
}
