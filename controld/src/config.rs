//! What an operator can set: a TOML file, overridden by flags of the same names.
//!
//! Unknown keys are errors, since a misspelt key that is silently ignored is a setting that nobody
//! made.

use crate::args::{Places, ServeArgs};
use crate::core::Settings;
use api::item::Overlay;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// MTU of networks without encryption: an underlay of 1500 minus 50 of VXLAN, and room for one more
/// tunnel on the way.
const PLAIN_MTU: u32 = 1400;

/// The settings of controld.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Store, CA and sockets.
    pub data: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where agents are listened to.
    pub agent_listen: SocketAddr,
    /// Everybody who asks is admin.
    pub open: bool,
    /// No TLS although the API does not listen on loopback.
    pub plain_http: bool,
    /// Names and addresses besides loopback by which the API may be called, without port.
    pub hosts: Vec<String>,
    /// Whether `X-Forwarded-Host` and `-Proto` of a proxy in front are believed.
    pub forwarded: bool,
    /// More names and addresses for the certificate of the agents' port.
    pub names: Vec<String>,
    /// How frames travel between hosts: `vxlan` in clear; `ipsec` is the default.
    pub overlay: Overlay,
    /// MTU of new networks, in bytes.
    pub mtu: u32,
    /// Seconds from removal to purge of an instance.
    pub purge_after: u64,
    /// Seconds that a freed address rests before somebody else gets it.
    pub address_rest: u64,
    /// Seconds that an instance waits for a host that fits.
    pub placement_wait: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "/var/lib/stampede/controld".into(),
            listen: (Ipv4Addr::LOCALHOST, 9080).into(),
            agent_listen: (Ipv4Addr::UNSPECIFIED, 9443).into(),
            open: false,
            plain_http: false,
            hosts: Vec::new(),
            forwarded: false,
            names: Vec::new(),
            overlay: Overlay::Ipsec,
            mtu: PLAIN_MTU,
            purge_after: 3600,
            address_rest: 300,
            placement_wait: 45,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("cannot use {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        #[source]
        source: toml::de::Error,
    },
    /// Everybody would be admin.
    #[error(
        "--open makes everybody admin who can reach {0}: listen on a loopback address, or leave --open out"
    )]
    Open(SocketAddr),
    /// Keys and secrets would travel in clear.
    #[error(
        "the API would be served in clear on {0}: listen on a loopback address behind a proxy with TLS, or say --plain-http"
    )]
    Plain(SocketAddr),
    /// The encrypted overlay is asked for.
    #[error(
        "this build has no ipsec overlay yet: set overlay = \"vxlan\" to let frames travel between hosts in clear"
    )]
    Ipsec,
}

impl Config {
    /// The settings of a file, if one is named, else all defaults.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }

    /// The settings of a file, with the data directory that the flag names.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn at(places: &Places) -> Result<Self, ConfigError> {
        let config = Self::read(places.config.as_deref())?;
        Ok(Self { data: places.data.clone().unwrap_or(config.data), ..config })
    }

    /// The settings of `serve`: the file's, overridden by flags, and checked.
    ///
    /// # Errors
    /// When the file cannot be used, or the settings would be unsafe.
    pub fn of(args: &ServeArgs) -> Result<Self, ConfigError> {
        let mut config = Self::at(&args.places)?;
        config.listen = args.listen.unwrap_or(config.listen);
        config.agent_listen = args.agent_listen.unwrap_or(config.agent_listen);
        config.open |= args.open;
        config.plain_http |= args.plain_http;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let loopback = self.listen.ip().is_loopback();
        if self.open && !loopback {
            return Err(ConfigError::Open(self.listen));
        }
        if !self.plain_http && !loopback {
            return Err(ConfigError::Plain(self.listen));
        }
        match self.overlay {
            Overlay::Ipsec => Err(ConfigError::Ipsec),
            Overlay::Vxlan => Ok(()),
        }
    }

    /// What the core needs of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            purge_after: Duration::from_secs(self.purge_after),
            address_rest: Duration::from_secs(self.address_rest),
            placement_wait: Duration::from_secs(self.placement_wait),
            overlay: self.overlay,
            mtu: self.mtu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(read("purge_afer = 0").is_err());
        assert_eq!(read("purge_after = 0").unwrap().purge_after, 0);
    }

    #[test]
    fn open_is_for_loopback_and_clear_frames_are_asked_for_by_name() {
        let config = |text: &str| read(text).unwrap().check();
        assert!(matches!(config(""), Err(ConfigError::Ipsec)));
        assert!(config("overlay = \"vxlan\"\nopen = true").is_ok());
        let public = "overlay = \"vxlan\"\nlisten = \"0.0.0.0:9080\"\n";
        assert!(matches!(config(public), Err(ConfigError::Plain(_))));
        assert!(matches!(
            config(&format!("{public}open = true\nplain_http = true")),
            Err(ConfigError::Open(_))
        ));
    }
}
