//! What is wrong with this host, and how to cure it.

use crate::overview::Overview;
use crate::sync::Contact;
use std::fmt;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// How to cure it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "✗ {}\n  → {}", self.what, self.remedy)
    }
}

fn finding(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { what: what.into(), remedy: remedy.into() }
}

/// What a host can do, a line each.
#[must_use]
pub fn capabilities(overview: &Overview) -> String {
    let lines = overview.report.facts.capabilities.iter().map(|(name, capability)| {
        let mark = if capability.ok { '✓' } else { '·' };
        format!("{mark} {name:<8} {}\n", capability.detail)
    });
    lines.collect()
}

/// Everything that is wrong with a host.
#[must_use]
pub fn diagnose(overview: &Overview) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(contact(&overview.contact));
    for (name, capability) in &overview.report.facts.capabilities {
        if !capability.ok
            && let Some(remedy) = remedy(name)
        {
            findings.push(finding(format!("{name} does not work: {}", capability.detail), remedy));
        }
    }
    for (name, remedy) in &overview.report.facts.conditions {
        findings.push(finding(format!("condition {name}"), remedy.as_str()));
    }
    for (key, error) in &overview.report.errors {
        let remedy = match error.kind {
            api::report::ErrorKind::Invalid => "change the item; it is not tried again",
            api::report::ErrorKind::Unsupported => "use an agentd as new as controld",
            api::report::ErrorKind::ConflictWithForeign => {
                "somebody else's object is in the way: move it, and it is tried again"
            }
            _ => "it is tried again by itself; the log tells more",
        };
        findings.push(finding(format!("{key}: {}", error.message), remedy));
    }
    findings
}

fn contact(contact: &Contact) -> Option<Finding> {
    match contact {
        Contact::Connected => None,
        Contact::None | Contact::Away { .. } => Some(finding(
            contact.to_string(),
            "what runs goes on; for changes controld must be reachable at the address in `controld`",
        )),
        Contact::Fenced => Some(finding(
            contact.to_string(),
            "to use this host again run `agentd clean-host --data-too` and enrol it with a new token",
        )),
        Contact::Refused { .. } => Some(finding(
            contact.to_string(),
            "if the host was removed from the cloud, enrol it anew with an empty data folder",
        )),
    }
}

/// How to get a capability; nothing for those that a host may well be without.
fn remedy(capability: &str) -> Option<&'static str> {
    match capability {
        "vxlan" => Some("use a kernel with VXLAN (module vxlan); without it there are no networks"),
        "nft" => Some("install nftables; without it there are no networks"),
        "docker" => Some("start Docker, or set `docker` to its socket; needed for containers"),
        "libvirt" => Some("start libvirtd, or set `libvirt` to its URI; needed for machines"),
        "kvm" => Some("turn on virtualisation in the firmware; machines are emulated until then"),
        // ESP is only needed by an encrypted overlay, which then says so itself.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sources;
    use api::report::Capability;

    #[test]
    fn names_what_is_wrong_with_its_remedy_and_nothing_else() {
        let (sources, _senders) = sources(Vec::new());
        let mut overview = Overview::of(&sources);
        overview.contact = Contact::Connected;
        assert_eq!(diagnose(&overview), []);
        let capability = |ok| Capability { ok, detail: "no such file".into() };
        let facts = &mut overview.report.facts;
        facts.capabilities =
            [("docker".into(), capability(false)), ("nft".into(), capability(true))].into();
        facts.conditions = [("forward-blocked".into(), "open it".into())].into();
        let findings = diagnose(&overview);
        assert_eq!(findings[0].what, "docker does not work: no such file");
        assert_eq!(findings[1], finding("condition forward-blocked", "open it"));
        assert_eq!(findings.len(), 2);
    }
}
