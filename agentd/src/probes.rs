//! What a host may be able to do, each with the way to find out.

use crate::config::Config;
use crate::survey::Probe;
use crate::{containers, machines};
use std::convert::Infallible;
use std::future::ready;

/// Capabilities that a simulated host has.
const SIMULATED: [&str; 5] = ["docker", "kvm", "libvirt", "nft", "vxlan"];

/// The probes of a host.
#[must_use]
pub fn all(config: &Config) -> Vec<Probe> {
    if config.simulate {
        let simulated = || ready(Ok::<_, Infallible>("simulated".to_owned()));
        return SIMULATED.map(|name| Probe::new(name, simulated)).into();
    }
    let docker = config.docker.clone();
    let libvirt = config.libvirt.clone();
    vec![
        Probe::new("vxlan", netlib::probe::vxlan),
        Probe::new("nft", netlib::probe::nftables),
        Probe::new("esp", netlib::probe::esp),
        Probe::new("kvm", kvm),
        Probe::new("docker", move || {
            let docker = docker.clone();
            async move { containers::probe(&docker).await }
        })
        .until_it_works(),
        Probe::new("libvirt", move || {
            let libvirt = libvirt.clone();
            async move { machines::probe(&libvirt).await }
        })
        .until_it_works(),
    ]
}

/// A probe of KVM that could not be made.
#[derive(Debug, thiserror::Error)]
enum KvmProbeError {
    /// It does not run guests.
    #[error(transparent)]
    Kvm(#[from] machines::kvm::KvmError),
    /// The thread that tried it ended early.
    #[error("cannot finish the probe of KVM")]
    Thread(#[from] tokio::task::JoinError),
}

async fn kvm() -> Result<String, KvmProbeError> {
    Ok(tokio::task::spawn_blocking(machines::kvm::probe).await??)
}
