//! Keeps foreign web pages from using a browser's way to us.
//!
//! A page that re-binds its own name to our address is told by `Host`; one that merely sends
//! requests by `Origin` and `Sec-Fetch-Site`. Neither needs a secret, so both are checked before
//! anything else.

use super::fault::Fault;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use std::net::IpAddr;

/// The value of `Host`, when it is a name of ours.
///
/// # Errors
/// When it is missing, unreadable, or neither loopback nor listed.
pub fn host<'a>(headers: &'a HeaderMap, listed: &[String]) -> Result<&'a str, Fault> {
    let mut given = headers.get_all(HOST).iter();
    let authority = given.next().and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = name_of(authority);
    let ours = loopback(name) || listed.iter().any(|host| host.eq_ignore_ascii_case(name));
    if ours && given.next().is_none() && port_fits(authority, name) {
        return Ok(authority);
    }
    Err(Fault::Foreign(format!(
        "controld is not called '{}': use a loopback address, or add the name to its hosts",
        name.chars().filter(|letter| !letter.is_control()).take(64).collect::<String>()
    )))
}

/// Refuses what a page of another origin sends.
///
/// # Errors
/// When the browser says that the request comes from elsewhere.
pub fn same_origin(headers: &HeaderMap, authority: &str) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let site = text("sec-fetch-site").unwrap_or("none");
    let origin = text(ORIGIN.as_str());
    let own = |origin: &str| {
        let scheme = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        scheme.is_some_and(|rest| rest.eq_ignore_ascii_case(authority))
    };
    if ["same-origin", "none"].contains(&site) && origin.is_none_or(own) {
        return Ok(());
    }
    Err(Fault::Foreign(
        "the request comes from another site's page: open controld's own address instead".into(),
    ))
}

/// Whether a host name or address means this machine.
#[must_use]
pub fn loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The name in `name:port` or `[address]:port`, without the dot of a fully qualified name.
fn name_of(authority: &str) -> &str {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let name = authority.get(..end).unwrap_or(authority);
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether nothing but a port follows the name; the value goes into the URLs of answers.
fn port_fits(authority: &str, name: &str) -> bool {
    let rest = authority.get(name.len()..).unwrap_or("x");
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::HeaderName;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let listed = ["cloud.example.org".to_owned(), "10.0.0.5".to_owned()];
        let asked = |name: &str| host(&headers(&[("host", name)]), &listed).is_ok();
        for ours in [
            "127.0.0.1:9080",
            "127.8.8.8",
            "localhost:9080",
            "LOCALHOST",
            "[::1]:9080",
            "[::1]",
            "cloud.example.org",
            "Cloud.Example.Org:9080",
            "localhost.",
            "10.0.0.5:9080",
        ] {
            assert!(asked(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.6",
            "evil.example:9080",
            "127.0.0.1@evil.example",
            "localhost/evil",
            "[::2]:9080",
            "localhost:99999",
            "localhost:9080/x",
            "127.1:9080",
            "0.0.0.0:9080",
            "localhost:",
        ] {
            assert!(!asked(foreign), "{foreign}");
        }
        assert!(host(&HeaderMap::new(), &listed).is_err());
        let mut two = headers(&[("host", "localhost")]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(host(&two, &listed).is_err());
    }

    #[test]
    fn only_our_own_pages_are_answered() {
        let asked =
            |pairs: &[(&'static str, &str)]| same_origin(&headers(pairs), "localhost:9080").is_ok();
        assert!(asked(&[]));
        assert!(asked(&[("sec-fetch-site", "same-origin")]));
        assert!(asked(&[("sec-fetch-site", "none")]));
        assert!(asked(&[("origin", "http://localhost:9080"), ("sec-fetch-site", "same-origin")]));
        assert!(!asked(&[("sec-fetch-site", "cross-site")]));
        assert!(!asked(&[("sec-fetch-site", "same-site")]));
        assert!(!asked(&[("origin", "http://localhost:8080")]));
        assert!(!asked(&[("origin", "http://evil.example")]));
        assert!(!asked(&[("origin", "null")]));
        assert!(!asked(&[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")]));
    }
}
