//! Between our words and those of Docker's API. Pure.

use super::creation::{Attached, Creation, Pin, container_name};
use super::driver::{
    DockerContainer, DockerNetwork, EndpointInfo, HandRun, INSTANCE_LABEL, NETWORK_LABEL,
    Observation, RunInfo, RunState, SPECIFICATION_LABEL, VNI_LABEL,
};
use super::interruptions::{Ending, Interruptions};
use super::plugin::DRIVER;
use super::protocol::VNI_OPTION;
use super::volumes::{Source, Volume};
use api::report::ErrorKind;
use bollard::errors::Error as DockerError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum,
    CreateImageInfo, EndpointIpamConfig, EndpointSettings, EventMessage, HostConfig, Ipam,
    IpamConfig, Network, NetworkCreateRequest, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum, Volume as DockerVolume,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// The request that makes a Docker network of ours. The VNI goes to the network driver and to the
/// IPAM driver, which Docker does not tell of one another.
#[must_use]
pub fn network(network: &DockerNetwork) -> NetworkCreateRequest {
    let vni = HashMap::from([(VNI_OPTION.to_owned(), network.vni.to_string())]);
    let range = IpamConfig {
        subnet: Some(network.subnet.clone()),
        gateway: Some(network.gateway.clone()),
        ..IpamConfig::default()
    };
    let labels = HashMap::from([
        (NETWORK_LABEL.to_owned(), network.uuid.clone()),
        (VNI_LABEL.to_owned(), network.vni.to_string()),
    ]);
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some(DRIVER.into()),
        ipam: Some(Ipam {
            driver: Some(DRIVER.into()),
            config: Some(vec![range]),
            options: Some(vni.clone()),
        }),
        options: Some(vni),
        labels: Some(labels),
        ..NetworkCreateRequest::default()
    }
}

/// An endpoint with its address pinned. Daemons before API 1.44 ignore the MAC here; they get it
/// from the network driver.
#[must_use]
pub fn endpoint(pin: &Pin) -> EndpointSettings {
    let ipam = EndpointIpamConfig {
        ipv4_address: Some(pin.ip.to_string()),
        ..EndpointIpamConfig::default()
    };
    EndpointSettings {
        ipam_config: Some(ipam),
        mac_address: Some(pin.mac.to_string()),
        ..EndpointSettings::default()
    }
}

/// The request that makes a container.
#[must_use]
pub fn container(creation: &Creation) -> ContainerCreateBody {
    let first = match &creation.network {
        Attached::Managed(pins) => pins.first(),
        Attached::Nowhere | Attached::DefaultBridge => None,
    };
    let networking = first.map(|pin| NetworkingConfig {
        endpoints_config: Some([(pin.network.clone(), endpoint(pin))].into()),
    });
    let environment = creation.environment.iter().map(|pair| pair.expose().to_owned()).collect();
    ContainerCreateBody {
        hostname: Some(creation.hostname.clone()),
        domainname: Some(creation.domain.clone()).filter(|domain| !domain.is_empty()),
        user: creation.user.clone(),
        env: Some(environment),
        cmd: some_unless_empty(&creation.command),
        entrypoint: some_unless_empty(&creation.entry_point),
        image: Some(creation.reference.clone()),
        working_dir: creation.directory.clone(),
        labels: Some(creation.labels.clone().into_iter().collect()),
        stop_timeout: Some(creation.stop_timeout),
        host_config: Some(host_config(creation)),
        networking_config: networking,
        ..ContainerCreateBody::default()
    }
}

fn some_unless_empty<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    Some(list.to_vec()).filter(|list| !list.is_empty())
}

fn host_config(creation: &Creation) -> HostConfig {
    let mode = match &creation.network {
        Attached::Managed(pins) => pins.first().map(|pin| pin.network.clone()),
        Attached::DefaultBridge => Some("bridge".into()),
        Attached::Nowhere => Some("none".into()),
    };
    // The policy is applied by agentd: Docker's own would start containers that were to stay down.
    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..RestartPolicy::default() };
    HostConfig {
        network_mode: mode,
        binds: Some(creation.volumes.iter().map(bind).collect()),
        privileged: Some(creation.privileged),
        memory: creation.memory,
        nano_cpus: creation.nano_cpus,
        cpu_shares: creation.cpu_shares,
        dns: Some(creation.dns.iter().map(ToString::to_string).collect()),
        dns_search: Some(creation.dns_search.clone()),
        restart_policy: Some(policy),
        security_opt: Some(vec!["no-new-privileges".into()]),
        ..HostConfig::default()
    }
}

fn bind(volume: &Volume) -> String {
    let source = match &volume.source {
        Source::Named(name) => name.clone(),
        Source::Host(path) => path.display().to_string(),
    };
    let mode = if volume.read_only { "ro" } else { "rw" };
    format!("{source}:{}:{mode}", volume.target)
}

/// What concerns us of Docker's lists.
#[must_use]
pub fn observation(
    networks: Vec<Network>,
    containers: Vec<ContainerSummary>,
    volumes: Vec<DockerVolume>,
) -> Observation {
    let mut observation = Observation::default();
    for network in networks {
        match ours(&network) {
            Some((id, network)) => {
                observation.networks.insert(id, network);
            }
            None => observation.foreign_networks.extend(network.name),
        }
    }
    let used: BTreeSet<String> = containers.iter().flat_map(mounted_volumes).collect();
    for container in containers {
        let Some(id) = container.id.clone() else { continue };
        let endpoints = endpoints(&container, &observation.networks);
        let labels = container.labels.clone().unwrap_or_default();
        // An image made of one of our containers passes its labels on, but not its name.
        match labels.get(INSTANCE_LABEL).filter(|uuid| is_named(&container, uuid)) {
            Some(uuid) => {
                let ours = DockerContainer {
                    uuid: uuid.clone(),
                    specification: labels.get(SPECIFICATION_LABEL).cloned().unwrap_or_default(),
                    state: run_state(container.state),
                    networks: network_ids(&container),
                    endpoints,
                };
                observation.containers.insert(id, ours);
            }
            None if on_ours(&container, &observation.networks) => {
                observation.hand_run.insert(id, hand_run(&container, endpoints));
            }
            None => {}
        }
    }
    let volumes = volumes.into_iter().map(|volume| volume.name);
    observation.volumes = volumes.map(|name| (name.clone(), used.contains(&name))).collect();
    observation
}

fn ours(network: &Network) -> Option<(String, DockerNetwork)> {
    if network.driver.as_deref() != Some(DRIVER) {
        return None;
    }
    let vni = network.options.as_ref()?.get(VNI_OPTION)?.parse().ok()?;
    let ranges = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let range = ranges.and_then(|ranges| ranges.first()).cloned().unwrap_or_default();
    let label = network.labels.as_ref().and_then(|labels| labels.get(NETWORK_LABEL));
    let ours = DockerNetwork {
        name: network.name.clone()?,
        uuid: label.cloned().unwrap_or_default(),
        vni,
        subnet: range.subnet.unwrap_or_default(),
        gateway: range.gateway.unwrap_or_default(),
    };
    Some((network.id.clone()?, ours))
}

fn settings(container: &ContainerSummary) -> impl Iterator<Item = &EndpointSettings> {
    let settings = container.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    networks.into_iter().flat_map(HashMap::values)
}

fn is_named(container: &ContainerSummary, uuid: &str) -> bool {
    let name = format!("/{}", container_name(uuid));
    container.names.iter().flatten().any(|held| *held == name)
}

fn network_ids(container: &ContainerSummary) -> BTreeSet<String> {
    settings(container).filter_map(|endpoint| endpoint.network_id.clone()).collect()
}

fn on_ours(container: &ContainerSummary, ours: &BTreeMap<String, DockerNetwork>) -> bool {
    settings(container)
        .any(|endpoint| endpoint.network_id.as_ref().is_some_and(|id| ours.contains_key(id)))
}

fn endpoints(
    container: &ContainerSummary,
    ours: &BTreeMap<String, DockerNetwork>,
) -> Vec<EndpointInfo> {
    let mut endpoints: Vec<EndpointInfo> = settings(container)
        .filter_map(|endpoint| {
            let network = endpoint.network_id.clone().filter(|id| ours.contains_key(id))?;
            Some(EndpointInfo {
                id: endpoint.endpoint_id.clone().filter(|id| !id.is_empty())?,
                network,
                ip: endpoint.ip_address.as_ref()?.parse().ok()?,
                mac: endpoint.mac_address.as_ref()?.parse().ok()?,
            })
        })
        .collect();
    endpoints.sort_by(|one, other| one.id.cmp(&other.id));
    endpoints
}

fn hand_run(container: &ContainerSummary, endpoints: Vec<EndpointInfo>) -> HandRun {
    let names = container.names.clone().unwrap_or_default();
    // Beside its own name a container may show aliases below others' names.
    let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|n| !n.contains('/'));
    HandRun {
        name: own.unwrap_or_default().to_owned(),
        image: container.image.clone().unwrap_or_default(),
        running: run_state(container.state) == RunState::Running,
        networks: network_ids(container),
        endpoints,
    }
}

fn mounted_volumes(container: &ContainerSummary) -> Vec<String> {
    let mounts = container.mounts.iter().flatten();
    mounts.filter_map(|mount| mount.name.clone()).collect()
}

fn run_state(state: Option<ContainerSummaryStateEnum>) -> RunState {
    use ContainerSummaryStateEnum as Docker;
    match state {
        Some(Docker::CREATED) => RunState::Created,
        Some(Docker::RUNNING | Docker::PAUSED | Docker::RESTARTING | Docker::STOPPING) => {
            RunState::Running
        }
        Some(Docker::REMOVING | Docker::DEAD) => RunState::Removing,
        Some(Docker::EXITED | Docker::EMPTY) | None => RunState::Exited,
    }
}

/// When a container ran and how it ended.
#[must_use]
pub fn run_info(container: ContainerInspectResponse, known: &Interruptions) -> RunInfo {
    let state = container.state.unwrap_or_default();
    let exit = state.exit_code.and_then(|code| code.try_into().ok()).unwrap_or(-1);
    RunInfo {
        started_at: state.started_at.unwrap_or_default(),
        exit,
        error: state.error.unwrap_or_default(),
        // Started since it was seen as ended.
        ending: match state.running {
            Some(true) => Ending::Settling,
            _ => known.ending(&container.id.unwrap_or_default(), exit, Instant::now()),
        },
    }
}

/// Whether trying again can help, by what Docker answered.
#[must_use]
pub fn kind(error: &DockerError) -> ErrorKind {
    let DockerError::DockerResponseServerError { status_code, message } = error else {
        return ErrorKind::Transient;
    };
    match status_code {
        // A start answers 400 when the command cannot be run; a creation when a field is wrong.
        400 => ErrorKind::Invalid,
        409 if message.contains("already in use") => ErrorKind::ConflictWithForeign,
        _ => ErrorKind::Transient,
    }
}

/// The same for a download: an image that does not exist will not appear by asking again soon.
#[must_use]
pub fn pull_kind(error: &DockerError) -> ErrorKind {
    let text = error.to_string();
    let absent = ["manifest unknown", "not found", "does not exist", "invalid reference format"];
    if absent.iter().any(|sign| text.contains(sign)) { ErrorKind::Invalid } else { kind(error) }
}

/// Whether an event is one of many that change nothing for us.
#[must_use]
pub fn is_noise(event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    ["exec_", "top", "attach", "resize", "health_status", "archive-path", "extract-to-dir"]
        .iter()
        .any(|noise| action.starts_with(noise))
}

/// A reference that names one image: without a tag Docker would download all of them.
#[must_use]
pub fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or_default();
    let whole = reference.contains('@') || last.contains(':');
    if whole { reference.into() } else { format!("{reference}:latest") }
}

/// How far the layers of an image are.
#[derive(Debug, Default)]
pub struct Layers(HashMap<String, (i64, i64)>);

impl Layers {
    /// Takes in one message of a download; the percentage of all bytes known of so far.
    pub fn percent(&mut self, message: &CreateImageInfo) -> u8 {
        let detail = message.progress_detail.as_ref();
        if let (Some(id), Some(detail)) = (&message.id, detail)
            && let (Some(current), Some(total)) = (detail.current, detail.total)
            && message.status.as_deref() == Some("Downloading")
        {
            self.0.insert(id.clone(), (current.min(total), total));
        } else if let (Some(id), Some("Download complete" | "Pull complete")) =
            (&message.id, message.status.as_deref())
            && let Some((current, total)) = self.0.get_mut(id)
        {
            *current = *total;
        }
        let current: i64 = self.0.values().map(|(current, _)| current).sum();
        let total: i64 = self.0.values().map(|(_, total)| total).sum();
        let percent = if total > 0 { current.saturating_mul(100) / total } else { 0 };
        percent.clamp(0, 100).try_into().unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_one_image() {
        for (reference, whole) in [
            ("nginx", "nginx:latest"),
            ("nginx:1.25", "nginx:1.25"),
            ("registry:5000/nginx", "registry:5000/nginx:latest"),
            ("registry:5000/a/nginx:1", "registry:5000/a/nginx:1"),
            ("nginx@sha256:00", "nginx@sha256:00"),
        ] {
            assert_eq!(with_tag(reference), whole);
        }
    }

    #[test]
    fn a_download_counts_its_bytes() {
        let message = |text: &str| serde_json::from_str::<CreateImageInfo>(text).unwrap();
        let mut layers = Layers::default();
        let start = message(r#"{"status":"Pulling from library/nginx","id":"1.25"}"#);
        assert_eq!(layers.percent(&start), 0);
        let half =
            r#"{"status":"Downloading","id":"a","progressDetail":{"current":50,"total":100}}"#;
        assert_eq!(layers.percent(&message(half)), 50);
        let other =
            r#"{"status":"Downloading","id":"b","progressDetail":{"current":0,"total":100}}"#;
        assert_eq!(layers.percent(&message(other)), 25);
        let done = message(r#"{"status":"Download complete","id":"a","progressDetail":{}}"#);
        assert_eq!(layers.percent(&done), 50);
    }

    #[test]
    fn only_what_stands_on_our_networks_is_seen() {
        let networks: Vec<Network> = serde_json::from_str(
            r#"[{"Id":"n1","Name":"managed","Driver":"stampede","Options":{"vni":"8388608"},
                 "Labels":{"stampede.network":"u"},
                 "IPAM":{"Config":[{"Subnet":"10.42.0.0/16","Gateway":"10.42.0.1"}]}},
                {"Id":"n2","Name":"bridge","Driver":"bridge"}]"#,
        )
        .unwrap();
        let on = |network: &str, ip: &str| {
            format!(
                r#"{{"Networks":{{"x":{{"NetworkID":"{network}","EndpointID":"e-{network}",
                   "IPAddress":"{ip}","MacAddress":"02:00:00:00:00:05"}}}}}}"#
            )
        };
        let containers: Vec<ContainerSummary> = serde_json::from_str(&format!(
            r#"[{{"Id":"a","Names":["/hand"],"Image":"bb:1","State":"running","Labels":{{}},
                 "NetworkSettings":{}}},
                {{"Id":"b","Names":["/other"],"State":"running","NetworkSettings":{}}},
                {{"Id":"c","Names":["/stampede-u1"],"State":"exited",
                 "Labels":{{"stampede.instance":"u1","stampede.specification":"s"}},
                 "NetworkSettings":{}}}]"#,
            on("n1", "10.42.0.5"),
            on("n2", "172.17.0.2"),
            on("n1", "")
        ))
        .unwrap();
        let seen = observation(networks, containers, Vec::new());
        assert_eq!(seen.networks["n1"].vni, 0x0080_0000);
        assert_eq!(seen.foreign_networks, ["bridge".to_owned()].into());
        assert_eq!(seen.hand_run.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(seen.hand_run["a"].name, "hand");
        assert_eq!(seen.hand_run["a"].endpoints.len(), 1);
        let ours = &seen.containers["c"];
        assert_eq!((ours.uuid.as_str(), ours.state), ("u1", RunState::Exited));
        assert!(ours.endpoints.is_empty());
    }
}
