//! What an operator can set: a TOML file, overridden by flags of the same names.
//!
//! Unknown keys are errors, since a misspelt key that is silently ignored is a setting that nobody
//! made. Everything has a default but the address of controld.

use crate::args::RunArgs;
use api::item::Overlay;
use api::secret::Secret;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How machines are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// KVM where a probe proves that it runs guests, else emulation.
    #[default]
    Auto,
    /// KVM only.
    Kvm,
    /// Emulation only.
    Qemu,
}

/// Where images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Addresses that may be fetched from although they are not public: users name URLs, and this
    /// host's own network is not theirs.
    pub allow: Vec<IpNet>,
}

/// The settings of one agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where controld's port for agents is: `https://host:9443`.
    pub controld: Option<String>,
    /// The file with the registration token; needed until the host is enrolled.
    pub token_file: Option<PathBuf>,
    /// What must survive a reboot: keys, ledger, journals, storage.
    pub data: PathBuf,
    /// What ends with a reboot: namespaces, the control socket.
    pub run_dir: PathBuf,
    /// Swaps the drivers for simulated ones that touch nothing and need no root.
    pub simulate: bool,
    /// Docker's socket.
    pub docker: PathBuf,
    /// The folder where Docker looks for plugins' sockets.
    pub docker_plugins: PathBuf,
    /// Where libvirt is.
    pub libvirt: String,
    /// How machines are run.
    pub virt_type: VirtType,
    /// Images and disks; `<data>/storage` when not set.
    pub storage: Option<PathBuf>,
    /// Trusted fields this host accepts: `privileged`, `host-paths`, `file-images`.
    pub allow: BTreeSet<String>,
    /// Where images come from.
    pub fetch: Fetch,
    /// The address other hosts reach this one at; the one on the way to controld when not set.
    pub advertise: Option<IpAddr>,
    /// The overlays this host agrees to take part in.
    pub overlay: Vec<Overlay>,
    /// The token itself, from `STAMPEDE_TOKEN` or `--token`; never from the file.
    #[serde(skip)]
    pub token: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            controld: None,
            token_file: None,
            data: "/var/lib/stampede/agentd".into(),
            run_dir: "/run/stampede".into(),
            simulate: false,
            docker: "/var/run/docker.sock".into(),
            docker_plugins: "/run/docker/plugins".into(),
            libvirt: "qemu:///system".into(),
            virt_type: VirtType::Auto,
            storage: None,
            allow: BTreeSet::new(),
            fetch: Fetch::default(),
            advertise: None,
            overlay: vec![Overlay::Ipsec, Overlay::Vxlan],
            token: None,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file has something in it that is not a setting.
    #[error("cannot use configuration file {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A permission that does not exist would silently never be given.
    #[error(
        "allow in {} names {entry:?}, which is no permission; use \"privileged\", \"file-images\", \"host-paths\" or \"host-paths=/folder\"",
        path.display()
    )]
    Permission {
        /// The file.
        path: PathBuf,
        /// What it names.
        entry: String,
    },
    /// A token on the command line can be read by everybody on the machine.
    #[error(
        "--token is for --simulate only, since everybody on a machine can read its command lines; use --token-file or STAMPEDE_TOKEN"
    )]
    TokenInSight,
}

impl Config {
    /// Reads `file`, or takes the defaults when none is given.
    ///
    /// # Errors
    /// When the file cannot be read or names an unknown setting.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.into(), source: Box::new(source) })?;
        match config.allow.iter().find(|entry| !is_permission(entry)) {
            Some(entry) => Err(ConfigError::Permission { path: path.into(), entry: entry.clone() }),
            None => Ok(config),
        }
    }

    /// The settings of `agentd run`: the file's, overridden by flags and environment.
    ///
    /// # Errors
    /// See [`Config::read`]; also for a token on the command line of a host that is not simulated.
    pub fn of_run(args: RunArgs) -> Result<Self, ConfigError> {
        let mut config = Self::read(args.places.config.as_deref())?;
        args.places.apply(&mut config);
        config.controld = args.controld.or(config.controld);
        config.token_file = args.token_file.or(config.token_file);
        config.simulate |= args.simulate;
        config.docker = args.docker.unwrap_or(config.docker);
        config.docker_plugins = args.docker_plugins.unwrap_or(config.docker_plugins);
        config.libvirt = args.libvirt.unwrap_or(config.libvirt);
        config.storage = args.storage.or(config.storage);
        config.advertise = args.advertise.or(config.advertise);
        if args.token.is_some() && !config.simulate {
            return Err(ConfigError::TokenInSight);
        }
        config.token = args.token.or_else(|| std::env::var("STAMPEDE_TOKEN").ok()).map(Secret::new);
        Ok(config)
    }

    /// Where images and disks are kept.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.storage.clone().unwrap_or_else(|| self.data.join("storage"))
    }

    /// Where `status` and the other commands reach a running agent.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("agentd.sock")
    }
}

/// Whether an entry of `allow` gives anything.
fn is_permission(entry: &str) -> bool {
    matches!(entry, "privileged" | "file-images" | "host-paths")
        || entry.strip_prefix("host-paths=").is_some_and(|folder| folder.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_that_does_not_exist_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agentd.toml");
        std::fs::write(&path, "allow = [\"host-paths=/srv\", \"privilegde\"]\n").unwrap();
        let error = Config::read(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("privilegde") && error.contains("privileged"), "{error}");
    }

    #[test]
    fn unknown_keys_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agentd.toml");
        std::fs::write(&path, "controlled = \"https://10.0.0.1:9443\"\n").unwrap();
        let error = Config::read(Some(&path)).unwrap_err();
        assert!(crate::desired::chain(&error).contains("controlled"), "{error}");
    }

    #[test]
    fn a_file_sets_what_it_names_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agentd.toml");
        let text = "controld = \"https://10.0.0.1:9443\"\nallow = [\"privileged\"]\noverlay = [\"vxlan\"]\nvirt_type = \"qemu\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(Some(&path)).unwrap();
        let expected = Config {
            controld: Some("https://10.0.0.1:9443".into()),
            allow: BTreeSet::from(["privileged".into()]),
            overlay: vec![Overlay::Vxlan],
            virt_type: VirtType::Qemu,
            ..Config::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn flags_win_and_a_token_in_sight_is_refused() {
        let args = RunArgs {
            controld: Some("https://10.0.0.2:9443".into()),
            token: Some("secret".into()),
            ..RunArgs::default()
        };
        assert!(matches!(Config::of_run(args.clone()), Err(ConfigError::TokenInSight)));
        let config = Config::of_run(RunArgs { simulate: true, ..args }).unwrap();
        assert_eq!(config.controld.as_deref(), Some("https://10.0.0.2:9443"));
        assert!(!format!("{config:?}").contains("secret"));
    }
}
