//! Forms that texts must have, each with the remedy that a refusal names.

use std::net::Ipv4Addr;

/// The longest DNS label.
const LABEL: usize = 63;

/// A form a text must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An IPv4 address of four decimal parts.
    Ipv4,
    /// A single DNS label (RFC 1123).
    Label,
    /// DNS labels joined by dots.
    Domain,
    /// A UUID in its usual 36 characters.
    Uuid,
    /// An image to fetch: `http:`, `https:` or `file:` with an absolute path.
    ImageUrl,
    /// Hex digits of an MD5, SHA-1, SHA-256 or SHA-512 digest.
    Digest,
    /// A line without control characters.
    Line,
    /// `name:/path[:ro]` or `/host/path:/path[:ro]`.
    Volume,
}

impl Format {
    /// What is wrong with a text and how to put it right; nothing when it has this form.
    #[must_use]
    pub fn fault(self, text: &str) -> Option<String> {
        match self {
            Self::Ipv4 => ipv4_fault(text),
            Self::Label => (!is_label(text)).then(|| {
                format!(
                    "'{text}' is not a host name: use up to 63 letters, digits and hyphens, \
                         no hyphen at either end, no dots"
                )
            }),
            Self::Domain => (!text.split('.').all(is_label)).then(|| {
                format!(
                    "'{text}' is not a domain name: use labels of letters, digits and \
                         hyphens joined by dots, for instance web.example.org"
                )
            }),
            Self::Uuid => (!is_uuid(text)).then(|| {
                format!(
                    "'{text}' is not a UUID: use the form \
                         123e4567-e89b-42d3-a456-426614174000, or leave it out to get one"
                )
            }),
            Self::ImageUrl => (!is_image_url(text)).then(|| {
                "not a URL of an image: use http://, https:// or file:///absolute/path".into()
            }),
            Self::Digest => (!is_digest(text)).then(|| {
                "not a checksum: use the hex digits of a SHA-256 or SHA-512 digest (MD5 and \
                 SHA-1 are taken too)"
                    .into()
            }),
            Self::Line => text
                .chars()
                .any(char::is_control)
                .then(|| "it holds control characters: use one line of printable text".into()),
            Self::Volume => (!is_volume(text)).then(|| {
                format!(
                    "'{text}' is not a volume: use name:/path or name:/path:ro, where a \
                         name is a letter or digit and up to 63 more of A-Z a-z 0-9 _ . -"
                )
            }),
        }
    }
}

fn ipv4_fault(text: &str) -> Option<String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    // Old parsers took three parts and meant an address that nobody wanted.
    let hint = if text.split('.').count() == 3 { ", it has three parts" } else { "" };
    Some(format!(
        "'{text}' is not an IPv4 address{hint}: use four decimal numbers, for instance 192.168.10.210"
    ))
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_image_url(text: &str) -> bool {
    let printable = text.chars().all(|letter| !letter.is_control() && letter != ' ');
    let host = |rest: &str| !rest.is_empty() && !rest.starts_with('/');
    let web =
        ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(host));
    printable && (web || text.starts_with("file:///"))
}

fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_volume(text: &str) -> bool {
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else { return false };
    let mode = parts.next();
    let source_fits = source.starts_with('/') || is_volume_name(source);
    let clean = !text.chars().any(char::is_control);
    parts.next().is_none()
        && source_fits
        && target.starts_with('/')
        && matches!(mode, None | Some("ro" | "rw"))
        && clean
}

fn is_volume_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= 64
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
}

/// Whether a text is made only of the characters that `valid` lists, with ranges: `a-z0-9_-`.
#[must_use]
pub fn made_of(text: &str, valid: &str) -> bool {
    let letters: Vec<char> = valid.chars().collect();
    text.chars().all(|letter| listed(letter, &letters))
}

fn listed(letter: char, valid: &[char]) -> bool {
    match valid {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&letter) || listed(letter, rest),
        [first, rest @ ..] => *first == letter || listed(letter, rest),
        [] => false,
    }
}
