//! Everything on a host that agentd could leave traces in, to be compared before and after.

use crate::node::Node;
use anyhow::Result;
use std::collections::BTreeMap;

/// What is looked at, and the command that shows it without anything that changes by itself.
const PLACES: &[(&str, &str)] = &[
    ("links", "ip -o link | sed 's/^[0-9]*: //; s/qlen.*//; s/ state .*//' | sort"),
    ("addresses", "ip -o address | sed 's/^[0-9]*: //; s/valid_lft.*//' | sort"),
    ("routes", "ip route show table all | sort"),
    ("rules", "ip rule"),
    ("neighbours", "ip neighbour show nud permanent; ip neighbour show proxy"),
    ("namespaces", "cat /proc/self/mounts | grep nsfs || true; ls /run/netns 2>/dev/null || true"),
    ("nft tables", "nft list tables | sort"),
    ("iptables", "iptables -S; iptables -t nat -S; iptables-legacy -S 2>/dev/null || true"),
    ("docker networks", "docker network ls --format '{{.Driver}} {{.Name}}' 2>/dev/null | sort"),
    ("docker containers", "docker ps --all --format '{{.ID}} {{.Names}}' 2>/dev/null | sort"),
    ("docker volumes", "docker volume ls --format '{{.Name}}' 2>/dev/null | sort"),
    ("docker plugins", "ls /run/docker/plugins 2>/dev/null || true"),
    ("domains", "virsh -c qemu:///system list --all --name 2>/dev/null || true"),
    ("disks", "find /var/lib/stampede /run/stampede -type f 2>/dev/null | sort || true"),
    ("taps", "ls /sys/class/net | sort"),
    ("processes", "ps -e -o comm | sort | uniq -c | grep -v -e ps -e sort -e uniq -e bash -e grep"),
];

/// A host as it is at one moment, by place.
pub type Traces = BTreeMap<&'static str, String>;

/// Looks at all places of a host.
///
/// # Errors
/// When a command fails.
pub fn look(node: &Node) -> Result<Traces> {
    PLACES.iter().map(|(place, command)| Ok((*place, node.shell(command)?))).collect()
}

/// What is different, by place, as text for people; empty when nothing is.
#[must_use]
pub fn differences(before: &Traces, after: &Traces, except: &[&str]) -> String {
    let mut text = String::new();
    for (place, was) in before {
        let is = after.get(place).map_or("", String::as_str);
        if is != was && !except.contains(place) {
            let gone = was.lines().filter(|line| !is.lines().any(|other| other == *line));
            let new = is.lines().filter(|line| !was.lines().any(|other| other == *line));
            gone.for_each(|line| text.push_str(&format!("{place}: - {line}\n")));
            new.for_each(|line| text.push_str(&format!("{place}: + {line}\n")));
        }
    }
    text
}
