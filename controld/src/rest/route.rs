//! What a URL's path names.

use api::schema::{Link, Type, find};
use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Clone, Debug)]
pub enum Route {
    /// `/ping`
    Ping,
    /// `/healthcheck`
    Health,
    /// `/metrics`
    Metrics,
    /// `/`
    Root,
    /// `/v1`
    Version,
    /// `/v1/schemas`
    Schemas,
    /// `/v1/schemas/<id>`
    Schema(&'static Type),
    /// `/v1/<plural>`
    Collection(&'static Type),
    /// `/v1/<plural>/<id>`
    Resource(&'static Type, String),
    /// `/v1/<plural>/<id>/<link>`
    Link(&'static Type, String, &'static Link),
    /// Nothing, with the path for the message.
    Nothing(String),
}

impl Route {
    /// Reads a path. Types are found by singular and plural in any case; empty segments, as by
    /// doubled slashes, do not count.
    #[must_use]
    pub fn read(path: &str) -> Self {
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<&str> = decoded.split('/').filter(|part| !part.is_empty()).collect();
        let found = match segments.as_slice() {
            [] => Some(Self::Root),
            ["ping"] => Some(Self::Ping),
            ["healthcheck"] => Some(Self::Health),
            ["metrics"] => Some(Self::Metrics),
            ["v1", rest @ ..] => Self::version(rest),
            _ => None,
        };
        found.unwrap_or_else(|| Self::Nothing(nameable(&decoded)))
    }

    fn version(segments: &[&str]) -> Option<Self> {
        let Some((name, rest)) = segments.split_first() else { return Some(Self::Version) };
        let kind = find(name)?;
        if kind.id == "schema" {
            return match rest {
                [] => Some(Self::Schemas),
                [id] => find(id).map(Self::Schema),
                _ => None,
            };
        }
        if kind.collection_methods.is_empty() {
            return None;
        }
        match rest {
            [] => Some(Self::Collection(kind)),
            [id] => Some(Self::Resource(kind, (*id).to_owned())),
            [id, link] => Some(Self::Link(kind, (*id).to_owned(), kind.link(link)?)),
            _ => None,
        }
    }
}

/// A path short and clean enough to be quoted.
fn nameable(path: &str) -> String {
    path.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_any_of_their_names() {
        for path in ["/v1/containers", "/v1/container/", "//v1//Containers//", "/v1/CONTAINERS"] {
            assert!(matches!(Route::read(path), Route::Collection(kind) if kind.id == "container"));
        }
        let one = Route::read("/v1/virtualmachines/1i12");
        assert!(
            matches!(one, Route::Resource(kind, id) if kind.id == "virtualMachine" && id == "1i12")
        );
        let link = Route::read("/v1/instances/1i12/NICS/");
        assert!(matches!(link, Route::Link(_, _, link) if link.name == "nics"));
        assert!(matches!(Route::read("/v1/schemas/Container"), Route::Schema(_)));
        assert!(matches!(Route::read("/v1/"), Route::Version));
        assert!(matches!(Route::read("/"), Route::Root));
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for path in [
            "/v2",
            "/v1/nonsense",
            "/v1/containers/1i1/nonsense",
            "/v1/containers/1i1/nics/1n1",
            "/v1/instancestops",
            "/v1/schemas/x",
            "/v1/schemas/container/x",
            "/%ff%00",
            "/ping/x",
        ] {
            assert!(matches!(Route::read(path), Route::Nothing(_)), "{path}");
        }
    }
}
