//! Accounts, keys, registration tokens and images.

use crate::core::{Caller, Refusal};
use crate::draft::{Draft, NewRow};
use crate::intent::input::{Input, find};
use crate::model::{Account, Body, Image, Millis, RegistrationToken, SshKey};
use sha2::{Digest, Sha256};

/// Creates an account; returns its number.
///
/// # Errors
/// When the uuid exists.
pub fn create_account(
    draft: &mut Draft<'_>,
    caller: &Caller,
    input: &Input,
) -> Result<i64, Refusal> {
    let account = Account {
        kind: input.text("kind").unwrap_or_else(|| "user".into()),
        trusted: input.texts("trustedFields").unwrap_or_default().into_iter().collect(),
        external_id: input.text("externalId"),
        external_id_type: input.text("externalIdType"),
        ..Account::default()
    };
    let row = input.new_row(draft, caller, Body::Account(account))?;
    Ok(draft.add(row))
}

/// Updates an account.
///
/// # Errors
/// When a default network or key does not exist.
pub fn update_account(
    draft: &mut Draft<'_>,
    caller: &Caller,
    id: i64,
    input: &Input,
) -> Result<(), Refusal> {
    let world = draft.world();
    let numbers = |kind: &str, field: &str| {
        let Some(ids) = input.texts(field) else { return Ok(None) };
        ids.iter()
            .map(|id| find(world, caller, kind, field, id).map(|row| row.id))
            .collect::<Result<Vec<i64>, Refusal>>()
            .map(Some)
    };
    let networks = numbers("network", "defaultNetworkIds")?;
    let keys = numbers("credential", "defaultCredentialIds")?;
    draft.edit(id, |row| {
        input.update_common(row);
        let Body::Account(account) = &mut row.body else { return };
        if input.has("defaultNetworkIds") {
            account.default_networks = networks.unwrap_or_default();
        }
        if input.has("defaultCredentialIds") {
            account.default_credentials = keys.unwrap_or_default();
        }
        if let Some(trusted) = input.texts("trustedFields") {
            account.trusted = trusted.into_iter().collect();
        }
    });
    Ok(())
}

/// Stores a public key; returns its number.
///
/// # Errors
/// When it is missing, or the uuid exists.
pub fn create_key(draft: &mut Draft<'_>, caller: &Caller, input: &Input) -> Result<i64, Refusal> {
    let public_value = input.text("publicValue").ok_or_else(|| {
        Refusal::invalid(
            "MissingRequired",
            "publicValue",
            "give a public key as in authorized_keys",
        )
    })?;
    let row = input.new_row(draft, caller, Body::SshKey(SshKey { public_value }))?;
    Ok(draft.add(row))
}

/// Registers an image; returns its number.
///
/// # Errors
/// When the url is missing, or the uuid exists.
pub fn create_image(draft: &mut Draft<'_>, caller: &Caller, input: &Input) -> Result<i64, Refusal> {
    let url = input.text("url").ok_or_else(|| {
        Refusal::invalid("MissingRequired", "url", "say where the image is fetched from")
    })?;
    let image = Image {
        url,
        checksum: input.text("checksum"),
        is_public: input.flag("isPublic").unwrap_or(false),
        format: input.text("format"),
        instance_kind: input.text("instanceKind").unwrap_or_else(|| "virtualMachine".into()),
    };
    let row = input.new_row(draft, caller, Body::Image(image))?;
    Ok(draft.add(row))
}

/// Updates an image; machines that exist keep what it was.
pub fn update_image(draft: &mut Draft<'_>, id: i64, input: &Input) {
    draft.edit(id, |row| {
        input.update_common(row);
        let Body::Image(image) = &mut row.body else { return };
        if let Some(url) = input.text("url") {
            image.url = url;
        }
        if input.has("checksum") {
            image.checksum = input.text("checksum");
        }
        if let Some(is_public) = input.flag("isPublic") {
            image.is_public = is_public;
        }
    });
}

/// A secret of 256 random bits, hex, and its SHA-256 as it is stored.
///
/// # Errors
/// When the kernel gives no random numbers.
pub fn new_secret() -> Result<(String, String), Refusal> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "no random numbers");
        Refusal::unavailable()
    })?;
    let secret = hex::encode(bytes);
    let hash = hash(&secret);
    Ok((secret, hash))
}

/// How a secret is stored.
#[must_use]
pub fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// What a new token may do.
pub struct TokenTerms {
    /// SHA-256 of its secret, hex.
    pub secret_sha256: String,
    /// When it ends; none means never.
    pub expires: Option<Millis>,
    /// How many hosts it may enrol; none means any number.
    pub uses: Option<u32>,
}

/// Creates a registration token; returns its number.
///
/// # Errors
/// When the uuid exists.
pub fn create_token(
    draft: &mut Draft<'_>,
    caller: &Caller,
    terms: TokenTerms,
    input: &Input,
) -> Result<i64, Refusal> {
    let token = RegistrationToken {
        secret_sha256: terms.secret_sha256,
        expires: terms.expires,
        used: 0,
        uses: terms.uses,
        revoked: false,
    };
    let row = input.new_row(draft, caller, Body::RegistrationToken(token))?;
    Ok(draft.add(row))
}

/// Takes a token back, or lets it count again.
///
/// # Errors
/// When there is no such action.
pub fn act_token(draft: &mut Draft<'_>, id: i64, action: &str) -> Result<(), Refusal> {
    let revoked = match action {
        "deactivate" => true,
        "activate" => false,
        other => return Err(Refusal::no_action(other)),
    };
    draft.edit(id, |row| {
        if let Body::RegistrationToken(token) = &mut row.body {
            token.revoked = revoked;
        }
    });
    Ok(())
}

/// Marks a row as removed.
pub fn remove(draft: &mut Draft<'_>, id: i64) {
    let now = draft.now();
    draft.edit(id, |row| {
        row.removed = Some(now);
        if let Body::RegistrationToken(token) = &mut row.body {
            token.revoked = true;
        }
    });
}

/// The account that everything of the cloud itself belongs to.
pub fn admin_row() -> NewRow {
    let account = Account { kind: "admin".into(), ..Account::default() };
    let new = NewRow::of(0, Body::Account(account));
    NewRow { uuid: Some("admin".into()), name: Some("admin".into()), ..new }
}
