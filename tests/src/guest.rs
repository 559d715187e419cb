//! Containers and machines as a test uses them.

use crate::cloud::{Cloud, MACHINE_IMAGE};
use crate::docker::IMAGE;
use crate::host::Host;
use crate::patience::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What a container needs to run, its image being there.
const CONTAINER_LIMIT: Duration = Duration::from_secs(45);
/// What an emulated machine needs until all of its start script is done, on a busy test machine.
const MACHINE_LIMIT: Duration = Duration::from_secs(180);

/// A guest made by REST.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Where it is in the API, for instance `containers/1i3`.
    pub path: String,
    /// Its uuid.
    pub uuid: String,
    /// Its name, also its host name.
    pub name: String,
    /// Its address on the managed network.
    pub address: Ipv4Addr,
    /// Its host's place in [`Cloud::hosts`].
    pub host: usize,
}

impl Cloud {
    /// Creates a container that serves its host name by HTTP and waits until it runs.
    ///
    /// # Errors
    /// When it does not come to run.
    pub fn run_container(&self, name: &str, host: usize, more: Value) -> Result<Guest> {
        // A first process has no default actions for signals: without the trap it would be asked to
        // end in vain.
        let serve = "hostname >/www/index.html; httpd -f -h /www & trap 'kill $!' TERM; wait";
        let body = json!({
            "imageUuid": format!("docker:{IMAGE}"),
            "command": "sh",
            "commandArgs": ["-c", serve],
        });
        self.run_guest("containers", name, host, body, more, CONTAINER_LIMIT)
    }

    /// Creates a machine and waits until it runs, which is before its system has booted.
    ///
    /// # Errors
    /// When it does not come to run.
    pub fn run_machine(&self, name: &str, host: usize, more: Value) -> Result<Guest> {
        let body = json!({"imageUuid": MACHINE_IMAGE, "memoryMb": 192});
        self.run_guest("virtualmachines", name, host, body, more, MACHINE_LIMIT)
    }

    fn run_guest(
        &self,
        collection: &str,
        name: &str,
        host: usize,
        mut body: Value,
        more: Value,
        limit: Duration,
    ) -> Result<Guest> {
        let fields = body.as_object_mut().context("a body is an object")?;
        fields.insert("name".into(), name.into());
        fields.insert("requestedHostId".into(), self.host_id(host)?.into());
        fields.extend(more.as_object().cloned().unwrap_or_else(Map::new));
        let made = self.api().create(collection, &body)?;
        let path = format!("{collection}/{}", made["id"].as_str().context("no id was given")?);
        let running = self.api().wait_for_state(&path, "running", limit)?;
        let address = running["primaryIpAddress"].as_str().context("it has no address")?;
        Ok(Guest {
            uuid: running["uuid"].as_str().context("it has no uuid")?.into(),
            name: name.into(),
            address: address.parse()?,
            path,
            host,
        })
    }

    /// Removes a guest, purges it, and waits until its host has let go of it.
    ///
    /// # Errors
    /// When that does not end.
    pub fn purge(&self, guest: &Guest) -> Result<()> {
        self.api().call("DELETE", &guest.path, None)?;
        self.api().wait(&guest.path, CONTAINER_LIMIT, |it| it["removed"].is_string())?;
        self.api().wait(&guest.path, CONTAINER_LIMIT, |it| it["state"] == "purged")?;
        Ok(())
    }
}

impl Host {
    /// Docker's id of a container of ours.
    ///
    /// # Errors
    /// When Docker shows none.
    pub fn docker_id(&self, uuid: &str) -> Result<String> {
        let label = format!("label=stampede.instance={uuid}");
        let id = self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label])?;
        ensure!(!id.is_empty(), "Docker shows no container of instance {uuid}");
        Ok(id)
    }

    /// Runs a command inside a container of ours.
    ///
    /// # Errors
    /// When it ends with another status than 0.
    pub fn exec(&self, uuid: &str, command: &[&str]) -> Result<String> {
        let id = self.docker_id(uuid)?;
        self.exec_in(&id, command)
    }

    /// Runs a command inside any container by its id or name in Docker.
    ///
    /// # Errors
    /// When it ends with another status than 0.
    pub fn exec_in(&self, id: &str, command: &[&str]) -> Result<String> {
        let mut line = vec!["exec", id];
        line.extend(command);
        self.docker(&line)
    }

    /// Waits until a machine has written a line `STAMPEDE-GUEST <key>=…` and gives what follows.
    ///
    /// # Errors
    /// When it does not; the error has the end of the console.
    pub fn told(&self, uuid: &str, key: &str) -> Result<String> {
        until(&format!("{key} on the console of {uuid}"), MACHINE_LIMIT, || {
            let console = self.console(uuid)?;
            let found = values(&console, key).next().map(str::to_owned);
            found.with_context(|| {
                let skipped = console.chars().count().saturating_sub(1500);
                format!(
                    "the console ends with: {}",
                    console.chars().skip(skipped).collect::<String>()
                )
            })
        })
    }
}

/// The values of all lines `STAMPEDE-GUEST <key>=<value>` of a console.
pub fn values<'a>(console: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    console
        .lines()
        .filter_map(|line| line.split_once("STAMPEDE-GUEST ").map(|(_, told)| told))
        .filter_map(move |told| told.strip_prefix(key)?.strip_prefix('='))
}
