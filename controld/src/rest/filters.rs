//! Narrows a list by the terms of a query.

use super::body::Parameters;
use api::schema::filter::{Modifier, modifiers};
use api::schema::{Field, FieldType, Grants, Type};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// One term: all terms of a query must hold.
#[derive(Clone, Debug)]
pub struct Term {
    field: &'static Field,
    modifier: Modifier,
    value: String,
}

/// The terms of a query. What is no filter of this type is ignored: old command lines send their
/// own options along.
#[must_use]
pub fn read(kind: &'static Type, query: &Parameters, grants: Grants<'_>) -> Vec<Term> {
    query.iter().filter_map(|(name, value)| term(kind, name, value, grants)).collect()
}

fn term(kind: &'static Type, name: &str, value: &str, grants: Grants<'_>) -> Option<Term> {
    let (name, modifier) = match name.rsplit_once('_') {
        Some((name, modifier)) => (name, Modifier::read(modifier)?),
        None => (name, Modifier::Eq),
    };
    let field = kind.field(name).filter(|field| grants.show(field))?;
    let known = modifiers(field).contains(&modifier);
    known.then(|| Term { field, modifier, value: value.to_owned() })
}

impl Term {
    /// The field it looks at.
    #[must_use]
    pub fn field(&self) -> &'static Field {
        self.field
    }

    /// Whether a resource with these fields is meant.
    #[must_use]
    pub fn holds(&self, fields: &Map<String, Value>) -> bool {
        let value = fields.get(self.field.name).unwrap_or(&Value::Null);
        let text = || value.as_str().unwrap_or("");
        let order = || compare(self.field, value, &self.value);
        match self.modifier {
            Modifier::Eq => equal(self.field, value, &self.value),
            Modifier::Ne => !equal(self.field, value, &self.value),
            Modifier::Prefix => value.is_string() && text().starts_with(&self.value),
            Modifier::Like => value.is_string() && like(text(), &self.value),
            Modifier::NotLike => !(value.is_string() && like(text(), &self.value)),
            Modifier::Lt => order() == Some(Ordering::Less),
            Modifier::Lte => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Modifier::Gt => order() == Some(Ordering::Greater),
            Modifier::Gte => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
            Modifier::Null => value.is_null(),
            Modifier::NotNull => !value.is_null(),
        }
    }
}

/// The terms of a list's document: for each field that can be filtered by, what it was filtered by.
#[must_use]
pub fn document(kind: &'static Type, terms: &[Term], grants: Grants<'_>) -> Value {
    let filterable =
        kind.all_fields().filter(|field| grants.show(field) && !modifiers(field).is_empty());
    let entries = filterable.map(|field| {
        let applied: Vec<Value> = terms
            .iter()
            .filter(|term| term.field.name == field.name)
            .map(|term| json!({"modifier": term.modifier.name(), "value": term.value}))
            .collect();
        let shown = if applied.is_empty() { Value::Null } else { Value::Array(applied) };
        (field.name.to_owned(), shown)
    });
    Value::Object(entries.collect())
}

fn equal(field: &Field, value: &Value, wanted: &str) -> bool {
    match field.kind {
        FieldType::Int | FieldType::Date => compare(field, value, wanted) == Some(Ordering::Equal),
        FieldType::Boolean => value.as_bool().is_some_and(|flag| {
            wanted.eq_ignore_ascii_case(if flag { "true" } else { "false" })
                || wanted == if flag { "1" } else { "0" }
        }),
        _ => value.as_str() == Some(wanted),
    }
}

/// How a value stands to a filter's; nothing when one of them is none or not of the type.
fn compare(field: &Field, value: &Value, wanted: &str) -> Option<Ordering> {
    if field.kind == FieldType::Date {
        let moment = value.as_str()?.parse::<jiff::Timestamp>().ok()?;
        return Some(moment.as_millisecond().cmp(&milliseconds(wanted)?));
    }
    Some(value.as_i64()?.cmp(&wanted.trim().parse().ok()?))
}

/// Moments are given as they are shown, as text or in milliseconds.
fn milliseconds(wanted: &str) -> Option<i64> {
    let text = || wanted.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    wanted.parse().ok().or_else(text)
}

/// Whether a text matches a pattern, where `%` stands for any characters and `_` for one. Goes back
/// only to the last `%`, so that no pattern takes longer than text times pattern.
fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut sign) = (0, 0);
    let mut retry = None;
    while at < text.len() {
        match pattern.get(sign) {
            Some('%') => {
                retry = Some((at, sign));
                sign += 1;
            }
            Some(letter) if *letter == '_' || text.get(at) == Some(letter) => {
                at += 1;
                sign += 1;
            }
            _ => {
                let Some((from, percent)) = retry else { return false };
                retry = Some((from + 1, percent));
                at = from + 1;
                sign = percent + 1;
            }
        }
    }
    pattern.iter().skip(sign).all(|letter| *letter == '%')
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::schema::find;
    use proptest::prelude::*;

    fn holds(query: &[(&str, &str)], fields: Value) -> bool {
        let query = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let terms = read(find("container").unwrap(), &query, Grants::ADMIN);
        terms.iter().all(|term| term.holds(fields.as_object().unwrap()))
    }

    #[test]
    fn every_modifier_narrows() {
        let web = json!({"name": "web_1", "memoryMb": 64, "state": "running", "removed": null,
            "created": "2024-05-01T00:00:00Z", "startOnCreate": true});
        for yes in [
            [("name", "web_1")],
            [("name_ne", "db")],
            [("name_prefix", "we")],
            [("name_like", "w%_1")],
            [("name_notlike", "d%")],
            [("memoryMb", "64")],
            [("memoryMb_lt", "65")],
            [("memoryMb_lte", "64")],
            [("memoryMb_gt", "9")],
            [("memoryMb_gte", "64")],
            [("removed_null", "True")],
            [("name_notnull", "x")],
            [("startOnCreate", "True")],
            [("created_gt", "2024-04-30T23:59:59Z")],
            [("created_lt", "1714521600001")],
            [("nonsense", "x")],
            [("_format", "table")],
            [("name_nonsense", "x")],
            [("removed_ne", "2024-05-01T00:00:00Z")],
            [("hostname_ne", "x")],
            [("environment", "x")],
        ] {
            assert!(holds(&yes, web.clone()), "{yes:?}");
        }
        for no in [
            [("name", "web")],
            [("name_ne", "web_1")],
            [("name_prefix", "eb")],
            [("name_like", "w_1")],
            [("name_notlike", "w%")],
            [("memoryMb", "much")],
            [("memoryMb_lt", "64")],
            [("memoryMb_gt", "64")],
            [("removed_notnull", "")],
            [("startOnCreate", "false")],
            [("created_lt", "2024-05-01T00:00:00Z")],
            [("removed_lt", "9999999999999")],
            [("state", "stopped")],
        ] {
            assert!(!holds(&no, web.clone()), "{no:?}");
        }
        assert!(!holds(&[("name", "web_1"), ("state", "stopped")], web));
    }

    /// The obvious definition of a pattern, exponential.
    fn obvious(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|skip| obvious(&text[skip..], rest)),
            [sign, rest @ ..] => {
                text.first().is_some_and(|letter| *sign == '_' || sign == letter)
                    && obvious(&text[1..], rest)
            }
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_they_obviously_mean(text in "[ab_%]{0,7}", pattern in "[ab_%]{0,6}") {
            let (chars, signs): (Vec<_>, Vec<_>) =
                (text.chars().collect(), pattern.chars().collect());
            prop_assert_eq!(like(&text, &pattern), obvious(&chars, &signs));
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let text = "a".repeat(5_000);
        assert!(!like(&text, &format!("{}b", "%a".repeat(500))));
    }
}
