//! Who may be a host: only who holds a good token, and only as itself. Others get nothing.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tests::cloud::{CONTROLD, Cloud};
use tests::host::{Equipment, Host};
use tests::patience::until;
use tests::{programs, rest};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn only_a_good_token_makes_a_host() -> Result<()> {
    let mut cloud = Cloud::start()?;
    let good = cloud.token(&[])?;
    let expired = cloud.token(&["--valid", "0"])?;
    let revoked = cloud.token(&[])?;
    revoke(&cloud, &revoked)?;
    let used = cloud.token(&[])?;
    let first = cloud.equip_host(Equipment::SIMULATED)?;
    first.give_token(&used)?;
    first.start_agentd()?;
    active_hosts(&cloud, 1)?;

    cloud.equip_host(Equipment::SIMULATED)?;
    for (token, reason) in [
        (&altered(&good, 3), "token-unknown"),
        (&altered(&good, 2), "token-unknown"),
        (&altered(&good, 1), "UnknownIssuer"),
        (&used, "token-used"),
        (&expired, "token-expired"),
        (&revoked, "token-revoked"),
    ] {
        let error = refusal(&cloud.hosts[1], token)?;
        ensure!(error.contains(reason), "a token that is {reason} led to: {error}");
        active_hosts(&cloud, 1)?;
    }
    // The good one is still good after all that.
    cloud.hosts[1].give_token(&good)?;
    cloud.hosts[1].start_agentd()?;
    active_hosts(&cloud, 2)?;
    cloud.passed()
}

#[test]
fn a_certificate_opens_one_host_and_only_until_it_is_fenced() -> Result<()> {
    let cloud = Cloud::with_hosts(&[Equipment::SIMULATED, Equipment::SIMULATED])?;
    let (own, other) = (member(&cloud.hosts[0])?, member(&cloud.hosts[1])?);
    let (status, body) = snapshot(&cloud.hosts[0], &own, true)?;
    ensure!(status == "200" && body.contains("host/self"), "its own snapshot: {status} {body}");
    for (host, certificate) in [(&other, true), (&own, false)] {
        let (status, body) = snapshot(&cloud.hosts[0], host, certificate)?;
        ensure!(status == "401" || status == "403", "it got {status}: {body}");
        ensure!(!body.contains("items"), "it was told {body}");
    }

    let path = format!("hosts/{}?action=fence", cloud.host_id(0)?);
    cloud.api().call("POST", &path, Some(&json!({})))?;
    let (status, body) = snapshot(&cloud.hosts[0], &own, true)?;
    ensure!(status == "401" || status == "403", "a fenced host got {status}: {body}");
    ensure!(body.contains("fenced") && !body.contains("items"), "it was told {body}");
    until("the agent's word that it is fenced", LIMIT, || {
        let contact = cloud.hosts[0].status()?["contact"].to_string();
        ensure!(contact.to_lowercase().contains("fenced"), "its contact is {contact}");
        Ok(())
    })?;
    cloud.passed()
}

#[test]
fn a_browser_cannot_be_turned_against_an_open_controld() -> Result<()> {
    let cloud = Cloud::start()?;
    let body = json!({"name": "evil"});
    let attempts: [(&str, &[(&str, &str)]); 4] = [
        ("POST", &[("Origin", "http://evil.example")]),
        ("POST", &[("Sec-Fetch-Site", "cross-site")]),
        ("POST", &[("Host", "evil.example:9080")]),
        ("GET", &[("Host", "evil.example")]),
    ];
    for (method, headers) in attempts {
        let body = (method == "POST").then_some(&body);
        let answer = rest::request(&cloud.control, method, "/v1/networks", headers, body)?;
        ensure!(answer.status == 403, "{method} with {headers:?} got {}", answer.status);
        ensure!(answer.body["status"] == 403, "the body is {}", answer.body);
    }
    let made = cloud.api().list("networks?name=evil")?;
    ensure!(made.is_empty(), "it was made all the same: {made:?}");
    cloud.passed()
}

/// A token with the last character of one of its four parts changed: cloud, CA, id, secret.
fn altered(token: &str, part: usize) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let last = parts[part].pop();
    parts[part].push(if last == Some('a') { 'b' } else { 'a' });
    parts.join(".")
}

fn revoke(cloud: &Cloud, token: &str) -> Result<()> {
    let program = programs::find("controld")?;
    let id = token.split('.').nth(2).context("a token has an id")?;
    cloud.control.run(&[&program.to_string_lossy(), "token", "revoke", id])?;
    Ok(())
}

/// What agentd says when it ends because of its token, or within five seconds of trying: a
/// controld of another CA may be an impostor whom the real one follows, so that is waited for.
fn refusal(host: &Host, token: &str) -> Result<String> {
    host.give_token(token)?;
    let program = programs::find("agentd")?;
    let line = format!("timeout 5 {} run --config /etc/agentd.toml 2>&1", program.display());
    let output = host.node.shell(&format!("! {line}"))?;
    Ok(output)
}

fn active_hosts(cloud: &Cloud, number: usize) -> Result<()> {
    until("the hosts", LIMIT, || {
        let active = cloud.api().list("hosts?state=active")?.len();
        ensure!(active == number, "{active} hosts are active, not {number}");
        Ok(())
    })
}

/// What a host keeps of its enrolment.
fn member(host: &Host) -> Result<Value> {
    let text = host.node.run(&["cat", "/var/lib/stampede/agentd/membership.json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// Asks for a host's snapshot from inside `from`, with that node's certificate or with none.
fn snapshot(from: &Host, of: &Value, certificate: bool) -> Result<(String, String)> {
    let own = member(from)?;
    let certificate_file = own["certificate"].as_str().context("there is no certificate")?;
    let ca = own["ca"].as_str().context("there is no CA")?;
    let host = of["host"].as_str().context("there is no host")?;
    let zero = api::hash::SetHash::default();
    let url = format!(
        "https://{CONTROLD}:9443/v1/agent/{host}/snapshot?store=none&gen=0&hash={zero}&wait=0"
    );
    let identity = match certificate {
        true => "--cert /run/agent.pem --key /var/lib/stampede/agentd/agent.key",
        false => "",
    };
    let answer = from.node.shell(&format!(
        "echo '{certificate_file}' >/run/agent.pem; echo '{ca}' >/run/ca.pem
         curl --silent --show-error --cacert /run/ca.pem {identity} \
           --header '{}: {}' --write-out '\\n%{{http_code}}' '{url}'",
        api::PROTO_HEADER,
        api::PROTO,
    ))?;
    let (body, status) = answer.rsplit_once('\n').context("curl told no status")?;
    Ok((status.to_owned(), body.to_owned()))
}
