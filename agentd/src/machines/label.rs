//! The metadata element by which a domain is known as ours.
//!
//! libvirt keeps an element of a foreign XML namespace with each domain, also while nobody is
//! connected. Ours holds one JSON object as its text.

use super::driver::Label;

/// Our XML namespace in domains.
pub const NAMESPACE: &str = "urn:stampede:instance";

/// The element for a domain's XML.
#[must_use]
pub fn write(label: &Label) -> String {
    let text = serde_json::json!(label).to_string();
    format!("<stampede:instance xmlns:stampede='{NAMESPACE}'>{}</stampede:instance>", escape(&text))
}

/// The label in an element as libvirt returns it, or nothing when it cannot be understood.
#[must_use]
pub fn read(element: &str) -> Option<Label> {
    let (_, rest) = element.split_once('>')?;
    let (text, _) = rest.rsplit_once("</")?;
    serde_json::from_str(&unescape(text)).ok()
}

/// Text as it may stand in XML, also within quotes. Characters that XML 1.0 cannot carry at all
/// become U+FFFD.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(character))),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The inverse of [`escape`] for what libvirt's serialiser writes; a named character it does not
/// know is left as it is.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(storage in "\\PC*", epoch: u64, stop_timeout: u32) {
            let label = Label { storage, epoch, stop_timeout };
            prop_assert_eq!(read(&write(&label)), Some(label));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = read(&text);
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced() {
        assert_eq!(escape("a\u{1}<'\n"), "a\u{fffd}&lt;&apos;&#10;");
    }
}
