//! The order of a list, and one page of it.
//!
//! A marker names the last resource of a page by its place in the order, not by its position, so
//! that resources that come and go meanwhile neither repeat nor hide others.

use super::body::Parameters;
use crate::core::View;
use api::schema::filter::modifiers;
use api::schema::{Field, Grants, Type};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::cmp::Ordering;

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1000;

/// The order of a list: by a field if one is named, and by number.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The field.
    pub field: Option<&'static Field>,
    /// From the last to the first.
    pub descending: bool,
}

/// A resource's place in an order.
#[derive(Clone, Debug, PartialEq)]
struct Place(Value, u64, String);

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Most resources on it.
    pub limit: usize,
    /// Its resources.
    pub views: Vec<View>,
    /// How many resources the whole list has.
    pub total: usize,
    /// Marker of the next page, if there is one.
    pub next: Option<String>,
    /// Marker of the previous page; the outer option is none on the first page, the inner one when
    /// the previous page is the first, which needs no marker.
    pub previous: Option<Option<String>>,
}

impl Order {
    /// The order that a query asks for.
    #[must_use]
    pub fn read(kind: &'static Type, query: &Parameters, grants: Grants<'_>) -> Self {
        let field = last(query, "sort")
            .and_then(|name| kind.field(name))
            .filter(|field| grants.show(field) && !modifiers(field).is_empty());
        let descending =
            last(query, "order").is_some_and(|order| order.eq_ignore_ascii_case("desc"));
        Self { field, descending }
    }

    fn place(self, view: &View) -> Place {
        // Ids are ordered by their number below.
        let field = self.field.filter(|field| field.name != "id");
        let value = field.and_then(|field| view.fields.get(field.name)).cloned();
        let digits =
            view.id.trim_start_matches(|letter: char| letter != '1').get(1..).unwrap_or("");
        let number = digits.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        Place(value.unwrap_or(Value::Null), number.parse().unwrap_or(0), view.id.clone())
    }

    fn compare(self, one: &Place, other: &Place) -> Ordering {
        let order = compare(&one.0, &other.0)
            .then_with(|| one.1.cmp(&other.1))
            .then_with(|| one.2.cmp(&other.2));
        if self.descending { order.reverse() } else { order }
    }
}

/// Orders a list and cuts the page out of it that a query asks for.
#[must_use]
pub fn cut(views: Vec<View>, order: Order, query: &Parameters) -> Page {
    let limit = last(query, "limit")
        .and_then(|limit| limit.trim().parse().ok())
        .unwrap_or(DEFAULT_LIMIT)
        .clamp(1, MOST);
    let total = views.len();
    let mut placed: Vec<(Place, View)> =
        views.into_iter().map(|view| (order.place(&view), view)).collect();
    placed.sort_by(|(one, _), (other, _)| order.compare(one, other));
    let after = last(query, "marker").and_then(read_marker);
    let start = after.map_or(0, |after| {
        placed.partition_point(|(place, _)| order.compare(place, &after) != Ordering::Greater)
    });
    let end = start.saturating_add(limit).min(total);
    let marker_at = |at: usize| placed.get(at).map(|(place, _)| write_marker(place));
    let next = (end < total && end > 0).then(|| marker_at(end - 1)).flatten();
    let previous =
        (start > 0).then(|| (start > limit).then(|| marker_at(start - limit - 1)).flatten());
    let views = placed.into_iter().skip(start).take(limit).map(|(_, view)| view).collect();
    Page { limit, views, total, next, previous }
}

/// The last value of a name in a query.
#[must_use]
pub fn last<'a>(query: &'a Parameters, name: &str) -> Option<&'a str> {
    query.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

fn compare(one: &Value, other: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    };
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => one.as_i64().cmp(&other.as_i64()),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

fn write_marker(Place(value, number, id): &Place) -> String {
    URL_SAFE_NO_PAD.encode(json!([value, number, id]).to_string())
}

/// A marker's place; none for what is no marker of ours, which then counts as the beginning.
fn read_marker(marker: &str) -> Option<Place> {
    let text = URL_SAFE_NO_PAD.decode(marker).ok()?;
    let (value, number, id) = serde_json::from_slice(&text).ok()?;
    Some(Place(value, number, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::schema::find;
    use proptest::prelude::*;
    use serde_json::Map;

    fn view(number: usize, name: Option<&str>) -> View {
        let mut fields = Map::new();
        fields.insert("name".into(), name.into());
        View {
            kind: "container",
            id: format!("1i{number}"),
            fields,
            actions: vec![],
            generation: 1,
        }
    }

    fn query(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn page(views: Vec<View>, pairs: &[(&str, &str)]) -> Page {
        let query = query(pairs);
        let order = Order::read(find("container").unwrap(), &query, Grants::ADMIN);
        cut(views, order, &query)
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.views.iter().map(|view| view.id.as_str()).collect()
    }

    #[test]
    fn lists_are_ordered_by_number_or_field() {
        let views =
            || vec![view(10, Some("b")), view(9, None), view(2, Some("c")), view(3, Some("b"))];
        assert_eq!(ids(&page(views(), &[])), ["1i2", "1i3", "1i9", "1i10"]);
        assert_eq!(ids(&page(views(), &[("sort", "name")])), ["1i9", "1i3", "1i10", "1i2"]);
        let down = page(views(), &[("sort", "id"), ("order", "DESC")]);
        assert_eq!(ids(&down), ["1i10", "1i9", "1i3", "1i2"]);
        assert_eq!(ids(&page(views(), &[("sort", "nonsense")])).len(), 4);
    }

    #[test]
    fn limits_are_capped_and_nonsense_is_ignored() {
        assert_eq!(page(vec![], &[("limit", "1005")]).limit, 1000);
        assert_eq!(page(vec![], &[("limit", "0")]).limit, 1);
        assert_eq!(page(vec![], &[("limit", "x"), ("marker", "@@")]).limit, 100);
    }

    #[test]
    fn a_resource_that_goes_between_two_pages_hides_no_other() {
        let all: Vec<View> = (1..=6).map(|number| view(number, None)).collect();
        let first = page(all.clone(), &[("limit", "2")]);
        let marker = first.next.unwrap();
        let fewer = all.into_iter().filter(|view| view.id != "1i2").collect();
        let second = page(fewer, &[("limit", "2"), ("marker", &marker)]);
        assert_eq!(ids(&second), ["1i3", "1i4"]);
        assert!(second.previous.is_some());
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list_and_lead_back(
            names in prop::collection::vec(prop::option::of("[ab]"), 0..30),
            limit in 1_usize..9,
            descending: bool,
        ) {
            let views: Vec<View> = names
                .iter()
                .enumerate()
                .map(|(number, name)| view(number + 1, name.as_deref()))
                .collect();
            let limit = limit.to_string();
            let order = if descending { "desc" } else { "asc" };
            let base = [("limit", limit.as_str()), ("sort", "name"), ("order", order)];
            let whole = page(views.clone(), &[base[1], base[2]]);
            let mut seen: Vec<String> = Vec::new();
            let mut marker: Option<String> = None;
            loop {
                let mut pairs = base.to_vec();
                if let Some(marker) = &marker {
                    pairs.push(("marker", marker));
                }
                let this = page(views.clone(), &pairs);
                prop_assert_eq!(this.previous.is_some(), !seen.is_empty());
                if let Some(Some(back)) = &this.previous {
                    let before = page(views.clone(), &[base[0], base[1], base[2], ("marker", back)]);
                    prop_assert_eq!(&before.next, &marker);
                }
                seen.extend(this.views.iter().map(|view| view.id.clone()));
                marker = this.next;
                if marker.is_none() { break }
            }
            prop_assert_eq!(seen, ids(&whole));
        }
    }
}
