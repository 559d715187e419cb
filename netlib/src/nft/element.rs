//! Members of sets and maps, between the words of our rules and the crate's expressions.
//!
//! In words a member is `a . b`, and `a . b : c` in a map, as in nft's own files.

use nftables::expr::{Expression, NamedExpression};

/// What separates a map's key from its value, and the parts of either.
const MAPS_TO: &str = " : ";
const AND: &str = " . ";

/// A member in words as the crate's expression.
#[must_use]
pub fn expression(words: &str) -> Expression<'static> {
    match words.split_once(MAPS_TO) {
        Some((key, value)) => Expression::List(vec![parts(key), parts(value)]),
        None => parts(words),
    }
}

fn parts(words: &str) -> Expression<'static> {
    let mut parts: Vec<_> =
        words.split(AND).map(|part| Expression::String(part.to_owned().into())).collect();
    match parts.len() {
        1 => parts.remove(0),
        _ => Expression::Named(NamedExpression::Concat(parts)),
    }
}

/// A listed member in words; `None` for what our sets cannot hold.
#[must_use]
pub fn words(expression: &Expression) -> Option<String> {
    let joined = |parts: &[Expression], between| -> Option<String> {
        Some(parts.iter().map(words).collect::<Option<Vec<_>>>()?.join(between))
    };
    match expression {
        Expression::String(text) => Some(text.to_string()),
        Expression::Number(number) => Some(number.to_string()),
        Expression::List(pair) => joined(pair, MAPS_TO),
        Expression::Named(NamedExpression::Concat(parts)) => joined(parts, AND),
        // A remark that somebody gave it does not make it another member.
        Expression::Named(NamedExpression::Elem(member)) => words(&member.val),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_out_as_they_went_in() {
        for text in ["10.0.0.1", "a . 02:00:00:00:00:01 . 10.0.0.1", "tcp . 80 : 10.0.0.1 . 90"] {
            assert_eq!(words(&expression(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_map_s_member_is_a_pair_of_concatenations() {
        let json = serde_json::to_value(expression("tcp . 80 : 10.0.0.1 . 90")).unwrap();
        let expected =
            serde_json::json!([{"concat": ["tcp", "80"]}, {"concat": ["10.0.0.1", "90"]}]);
        assert_eq!(json, expected);
    }
}
