//! Makes values fit their field's type, both ways: command lines send text for everything, scripts
//! send numbers for text.

use super::field::FieldType;
use super::validate::Code;
use serde_json::{Map, Number, Value};

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The code of the refusal.
    pub code: Code,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl Misfit {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn format(wanted: &str, got: &Value) -> Self {
        Self::new(Code::InvalidFormat, format!("{} is not {wanted}: send {wanted}", kind_of(got)))
    }
}

/// The value as the type wants it; null stays null.
///
/// # Errors
/// When no reading of the value fits the type.
pub fn coerce(kind: &FieldType, value: &Value) -> Result<Value, Misfit> {
    match kind {
        _ if value.is_null() => Ok(Value::Null),
        FieldType::String | FieldType::Multiline | FieldType::Password => text(value),
        FieldType::Int => whole(value),
        FieldType::Boolean => truth(value),
        FieldType::Date => moment(value),
        FieldType::Json => Ok(value.clone()),
        FieldType::Enum(options) => option(options, value),
        FieldType::Reference(to) => reference(to, value),
        FieldType::Array(of) => list(of, value),
        FieldType::Map(of) => entries(of, value),
        FieldType::Object(_) => object(value).map(Value::Object),
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", shorten(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// Refusals quote what was sent, but not all of a megabyte.
fn shorten(text: &str) -> String {
    const QUOTED: usize = 64;
    if text.chars().count() <= QUOTED {
        text.to_owned()
    } else {
        text.chars().take(QUOTED).chain("...".chars()).collect()
    }
}

fn text(value: &Value) -> Result<Value, Misfit> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Number(number) => Ok(number.to_string().into()),
        Value::Bool(flag) => Ok(flag.to_string().into()),
        _ => Err(Misfit::format("text", value)),
    }
}

fn whole(value: &Value) -> Result<Value, Misfit> {
    let misfit = || Misfit::format("a whole number", value);
    match value {
        Value::Number(number) => whole_number(number).ok_or_else(misfit).map(Value::from),
        Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::String(text) => text.trim().parse::<i64>().map(Value::from).map_err(|_| misfit()),
        _ => Err(misfit()),
    }
}

fn whole_number(number: &Number) -> Option<i64> {
    // Scripts send 24.0 for 24; beyond 2^53 a float no longer names one whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT).map(|float| {
            #[allow(clippy::cast_possible_truncation)] // whole and within 2^53
            let whole = float as i64;
            whole
        })
    })
}

fn truth(value: &Value) -> Result<Value, Misfit> {
    let word = match value {
        Value::Bool(_) => return Ok(value.clone()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        _ => return Err(Misfit::format("true or false", value)),
    };
    match word.as_str() {
        "true" | "1" => Ok(true.into()),
        "false" | "0" => Ok(false.into()),
        "" => Ok(Value::Null),
        _ => Err(Misfit::format("true or false", value)),
    }
}

fn moment(value: &Value) -> Result<Value, Misfit> {
    const SHAPE: &str = "0000-00-00T00:00:00Z";
    let fits = |text: &str| {
        text.len() == SHAPE.len()
            && text.bytes().zip(SHAPE.bytes()).all(|(got, want)| match want {
                b'0' => got.is_ascii_digit(),
                _ => got == want,
            })
    };
    match value {
        Value::String(text) if fits(text) => Ok(value.clone()),
        _ => Err(Misfit::new(
            Code::InvalidDateFormat,
            format!("{} is not a moment: send one such as 2014-08-21T16:54:52Z", kind_of(value)),
        )),
    }
}

fn option(options: &[&str], value: &Value) -> Result<Value, Misfit> {
    let word = text(value)?;
    if word.as_str().is_some_and(|word| options.contains(&word)) {
        return Ok(word);
    }
    Err(Misfit::new(
        Code::InvalidOption,
        format!("{} is not possible: use one of {}", kind_of(value), options.join(", ")),
    ))
}

fn reference(to: &str, value: &Value) -> Result<Value, Misfit> {
    let word = text(value)?;
    let Some(id) = word.as_str().map(str::trim) else { return Ok(Value::Null) };
    if id.is_empty() {
        return Ok(Value::Null);
    }
    let target = super::find(to);
    if target.is_some_and(|target| target.number(id).is_some()) {
        return Ok(id.into());
    }
    let example = target.map_or_else(String::new, |target| target.public_id(5));
    Err(Misfit::new(
        Code::InvalidReference,
        format!(
            "{} is not the id of a resource of type {to}: use one such as {example}",
            kind_of(value)
        ),
    ))
}

fn list(of: &FieldType, value: &Value) -> Result<Value, Misfit> {
    let one = std::slice::from_ref(value);
    let elements = match value {
        Value::Array(elements) => elements.as_slice(),
        Value::Object(_) if !matches!(of, FieldType::Object(_) | FieldType::Json) => {
            return Err(Misfit::format("a list", value));
        }
        _ => one,
    };
    elements
        .iter()
        .map(|element| element_of(of, element))
        .collect::<Result<_, _>>()
        .map(Value::Array)
}

fn element_of(of: &FieldType, element: &Value) -> Result<Value, Misfit> {
    match coerce(of, element)? {
        Value::Null if !matches!(of, FieldType::Json) => {
            Err(Misfit::new(Code::NotNullable, "a list holds no empty elements: leave them out"))
        }
        fitted => Ok(fitted),
    }
}

fn entries(of: &FieldType, value: &Value) -> Result<Value, Misfit> {
    let fitted = object(value)?
        .into_iter()
        .map(|(key, entry)| Ok((key, entry_of(of, &entry)?)))
        .collect::<Result<Map<_, _>, Misfit>>()?;
    // Generated clients take an object with these keys for a resource and fail on it.
    let resource_like = fitted.get("type").is_some_and(Value::is_string)
        && (fitted.contains_key("links") || fitted.contains_key("actions"));
    if resource_like {
        return Err(Misfit::new(
            Code::InvalidFormat,
            "a map with the key 'type' cannot have the keys 'links' or 'actions': rename one",
        ));
    }
    Ok(Value::Object(fitted))
}

fn entry_of(of: &FieldType, entry: &Value) -> Result<Value, Misfit> {
    match coerce(of, entry)? {
        Value::Null if matches!(of, FieldType::String) => Ok("".into()),
        Value::Null if !matches!(of, FieldType::Json) => {
            Err(Misfit::new(Code::NotNullable, "a map holds no empty values: leave them out"))
        }
        fitted => Ok(fitted),
    }
}

/// An object from an object, from JSON in text, or from `A=b,C=d` (also as a list of such).
fn object(value: &Value) -> Result<Map<String, Value>, Misfit> {
    match value {
        Value::Object(map) => Ok(map.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => {
            match serde_json::from_str(text) {
                Ok(Value::Object(map)) => Ok(map),
                _ => Err(Misfit::new(
                    Code::InvalidFormat,
                    "not an object in JSON: send {\"key\": \"value\"}",
                )),
            }
        }
        Value::String(text) => text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect(),
        Value::Array(parts) => parts.iter().try_fold(Map::new(), |mut all, part| {
            all.extend(object(part)?);
            Ok(all)
        }),
        _ => Err(Misfit::format("values by name", value)),
    }
}

fn pair(text: &str) -> Result<(String, Value), Misfit> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.into())),
        _ => Err(Misfit::new(
            Code::InvalidFormat,
            format!(
                "'{}' is not KEY=value: separate entries by commas, or send an object",
                shorten(text)
            ),
        )),
    }
}
