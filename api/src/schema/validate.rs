//! Checks what a client sends against the table; all faults at once, each with its field.

use super::coerce::{Misfit, coerce};
use super::field::{Field, FieldType};
use super::format::made_of;
use super::resource::Type;
use super::trust::Grants;
use serde_json::{Map, Value};

/// Stable names of what can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// It must be given.
    MissingRequired,
    /// It cannot be null.
    NotNullable,
    /// It has the wrong form.
    InvalidFormat,
    /// It is not a moment.
    InvalidDateFormat,
    /// It is none of the field's words.
    InvalidOption,
    /// It is not the id of such a resource.
    InvalidReference,
    /// It holds characters that it must not.
    InvalidCharacters,
    /// It is too small.
    MinLimitExceeded,
    /// It is too large.
    MaxLimitExceeded,
    /// It is too short.
    MinLengthExceeded,
    /// It is too long.
    MaxLengthExceeded,
    /// The account lacks the grant for it.
    TrustedField,
    /// Networks and subnets are both given.
    NetworkIdsSubnetIdsMutuallyExclusive,
}

impl Code {
    /// As it stands in an error document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingRequired => "MissingRequired",
            Self::NotNullable => "NotNullable",
            Self::InvalidFormat => "InvalidFormat",
            Self::InvalidDateFormat => "InvalidDateFormat",
            Self::InvalidOption => "InvalidOption",
            Self::InvalidReference => "InvalidReference",
            Self::InvalidCharacters => "InvalidCharacters",
            Self::MinLimitExceeded => "MinLimitExceeded",
            Self::MaxLimitExceeded => "MaxLimitExceeded",
            Self::MinLengthExceeded => "MinLengthExceeded",
            Self::MaxLengthExceeded => "MaxLengthExceeded",
            Self::TrustedField => "TrustedField",
            Self::NetworkIdsSubnetIdsMutuallyExclusive => "NetworkIdsSubnetIdsMutuallyExclusive",
        }
    }
}

/// One fault of an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field's name.
    pub field: String,
    /// What kind of fault.
    pub code: Code,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl FieldError {
    /// A fault of a field.
    #[must_use]
    pub fn new(field: &str, code: Code, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// The fields of a new resource: fitted, checked, with defaults filled in. Null counts as not
/// given, since clients send it for every argument left out. Unknown fields are dropped.
///
/// # Errors
/// All faults of all fields.
pub fn validate_create(
    kind: &'static Type,
    input: &Map<String, Value>,
    grants: Grants<'_>,
) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut fields = Map::new();
    let mut faults = Vec::new();
    for field in kind.all_fields().filter(|field| field.create) {
        match create_field(field, input.get(field.name), grants) {
            Ok(Some(value)) => {
                fields.insert(field.name.into(), value);
            }
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        faults.extend(kind.rules.iter().filter_map(|rule| rule(&fields)));
    }
    if faults.is_empty() { Ok(fields) } else { Err(faults) }
}

/// The fields that a change really changes, fitted and checked. Clients send whole resources back,
/// so what cannot be updated, or equals `current`, is dropped.
///
/// # Errors
/// All faults of all fields.
pub fn validate_update(
    kind: &'static Type,
    input: &Map<String, Value>,
    current: &Map<String, Value>,
    grants: Grants<'_>,
) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut fields = Map::new();
    let mut faults = Vec::new();
    for field in kind.all_fields().filter(|field| field.update) {
        let now = current.get(field.name).unwrap_or(&Value::Null);
        let Some(value) = input.get(field.name).filter(|value| *value != now) else { continue };
        match update_field(field, value, grants) {
            Ok(fitted) if fitted == *now => {}
            Ok(fitted) => {
                fields.insert(field.name.into(), fitted);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(fields) } else { Err(faults) }
}

fn create_field(
    field: &Field,
    value: Option<&Value>,
    grants: Grants<'_>,
) -> Result<Option<Value>, FieldError> {
    let fitted = match value {
        Some(value) if !value.is_null() => fit(field, value, grants)?,
        _ => Value::Null,
    };
    if !fitted.is_null() {
        return Ok(Some(fitted));
    }
    if field.required {
        let message = format!("it must be given: send a value of type {}", field.kind.name());
        return Err(FieldError::new(field.name, Code::MissingRequired, message));
    }
    Ok(field.default.map(super::field::Default::value))
}

fn update_field(field: &Field, value: &Value, grants: Grants<'_>) -> Result<Value, FieldError> {
    let fitted = fit(field, value, grants)?;
    if fitted.is_null() && !field.nullable {
        let message = "it cannot be null: leave it out to keep its value";
        return Err(FieldError::new(field.name, Code::NotNullable, message));
    }
    Ok(fitted)
}

/// Coerces a value and checks everything that the field alone says about it.
fn fit(field: &Field, value: &Value, grants: Grants<'_>) -> Result<Value, FieldError> {
    let fault = |misfit: Misfit| FieldError::new(field.name, misfit.code, misfit.message);
    let fitted = coerce(&field.kind, value).map_err(fault)?;
    let fitted = match (&field.kind, fitted) {
        (FieldType::Object(id), Value::Object(map)) => part(field, id, &map, grants)?,
        (_, fitted) => fitted,
    };
    limits(field, &fitted).map_err(fault)?;
    if !fitted.is_null() && !grants.allow(field, &fitted) {
        let message = format!(
            "'{}' reaches into the host: ask an admin to grant it to this account, or leave it out",
            field.name
        );
        return Err(FieldError::new(field.name, Code::TrustedField, message));
    }
    Ok(fitted)
}

/// Checks an object inside a request against its own type.
fn part(
    field: &Field,
    id: &str,
    map: &Map<String, Value>,
    grants: Grants<'_>,
) -> Result<Value, FieldError> {
    let Some(kind) = super::find(id) else { return Ok(Value::Object(map.clone())) };
    match validate_create(kind, map, grants) {
        Ok(fields) => Ok(Value::Object(fields)),
        Err(faults) => {
            let code = faults.first().map_or(Code::InvalidFormat, |fault| fault.code);
            let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(FieldError::new(field.name, code, text.join("; ")))
        }
    }
}

fn limits(field: &Field, value: &Value) -> Result<(), Misfit> {
    match value {
        Value::Number(number) => number.as_i64().map_or(Ok(()), |number| range(field, number)),
        Value::String(text) => text_limits(field, text),
        Value::Array(elements) => {
            length(field, elements.len(), "entries")?;
            let mut texts = elements.iter().filter_map(Value::as_str);
            texts.try_for_each(|text| characters(field, text))
        }
        Value::Object(map) => {
            length(field, map.len(), "entries")?;
            let texts = map.iter().flat_map(|(key, value)| [Some(key.as_str()), value.as_str()]);
            texts.flatten().try_for_each(|text| characters(field, text))
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn range(field: &Field, number: i64) -> Result<(), Misfit> {
    if let Some(min) = field.min.filter(|min| number < *min) {
        return Err(Misfit::new(
            Code::MinLimitExceeded,
            format!("{number} is too small: give at least {min}"),
        ));
    }
    if let Some(max) = field.max.filter(|max| number > *max) {
        return Err(Misfit::new(
            Code::MaxLimitExceeded,
            format!("{number} is too large: give at most {max}"),
        ));
    }
    Ok(())
}

fn text_limits(field: &Field, text: &str) -> Result<(), Misfit> {
    if !matches!(field.kind, FieldType::Enum(_) | FieldType::Reference(_)) {
        length(field, text.chars().count(), "characters")?;
    }
    characters(field, text)
}

fn length(field: &Field, length: usize, of: &str) -> Result<(), Misfit> {
    if let Some(min) = field.min_length.filter(|min| length < *min) {
        let message = format!("{length} {of} are too few: give at least {min}");
        return Err(Misfit::new(Code::MinLengthExceeded, message));
    }
    if let Some(max) = field.max_length.filter(|max| length > *max) {
        let message = format!("{length} {of} are too many: give at most {max}");
        return Err(Misfit::new(Code::MaxLengthExceeded, message));
    }
    Ok(())
}

fn characters(field: &Field, text: &str) -> Result<(), Misfit> {
    // Neither a process' arguments nor its environment can carry NUL; user data can.
    if text.contains('\0') && !matches!(field.kind, FieldType::Multiline) {
        return Err(Misfit::new(Code::InvalidCharacters, "it holds a NUL character: remove it"));
    }
    if let Some(valid) = field.valid_chars.filter(|valid| !made_of(text, valid)) {
        let message = format!("it holds characters that are not possible: use only {valid}");
        return Err(Misfit::new(Code::InvalidCharacters, message));
    }
    match field.format.and_then(|format| format.fault(text)) {
        Some(message) => Err(Misfit::new(Code::InvalidFormat, message)),
        None => Ok(()),
    }
}
