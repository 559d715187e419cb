//! A machine as libvirt's XML. Pure: the same machine and paths give the same text.
//!
//! Virtio for everything (disk, network, random numbers, balloon), for the kernels of cloud images
//! carry little else: on `q35` they would not even see a SATA drive. VNC listens on a Unix socket
//! that libvirt places; the serial port is a pty with a log.

use super::driver::Label;
use super::label::{self, escape};
use api::item::{Attachment, Machine, Network, Nic, Presentation};
use netlib::names::device_name;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Memory of a machine whose item names none. In MiB.
pub const DEFAULT_MEMORY: u64 = 256;

/// How the processor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By the host's own.
    Kvm,
    /// By QEMU in software.
    Emulation,
}

/// What else the XML must say.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// How the processor is made.
    pub accelerator: Accelerator,
    /// By what the domain is known as ours.
    pub label: &'a Label,
    /// The machine's own disk, a qcow2 file.
    pub disk: &'a Path,
    /// What the disk is a copy-on-write child of, and its format.
    pub base: (&'a Path, &'a str),
    /// The config drive, if the presentation has one.
    pub drive: Option<&'a Path>,
    /// Where the serial port's output is kept.
    pub log: PathBuf,
    /// Managed networks by VNI, for their MTU.
    pub networks: &'a BTreeMap<u32, Network>,
}

/// The domain's XML.
#[must_use]
pub fn domain(machine: &Machine, around: &Surroundings) -> String {
    let guest = &machine.guest;
    let uuid = escape(&guest.uuid);
    let kind = match around.accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Emulation => "qemu",
    };
    let mut xml = format!(
        "<domain type='{kind}'>
  <name>{uuid}</name>
  <uuid>{uuid}</uuid>
  <metadata>{label}</metadata>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpu}</vcpu>
{firmware}  <features><acpi/><apic/></features>
{processor}  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
",
        label = label::write(around.label),
        memory = guest.memory_mb.unwrap_or(DEFAULT_MEMORY),
        vcpu = guest.vcpu.unwrap_or(1),
        firmware = firmware(&uuid, machine.presentation),
        processor = processor(around.accelerator),
    );
    xml.push_str(&disks(around));
    for nic in &guest.nics {
        xml.push_str(&interface(&guest.uuid, nic, around.networks));
    }
    xml.push_str(&consoles(&around.log));
    xml.push_str("  </devices>\n</domain>\n");
    xml
}

/// What the firmware's tables claim; cloud-init looks for its platform there.
fn firmware(uuid: &str, presentation: Presentation) -> String {
    let claim = match presentation {
        Presentation::ConfigDrive => Some(("OpenStack Foundation", "OpenStack Nova")),
        Presentation::Ec2 => Some(("Amazon EC2", "t2.micro")),
        Presentation::Nocloud | Presentation::None => None,
    };
    let kind = "    <type arch='x86_64' machine='q35'>hvm</type>\n";
    let Some((manufacturer, product)) = claim else {
        return format!("  <os>\n{kind}  </os>\n");
    };
    format!(
        "  <os>
{kind}    <smbios mode='sysinfo'/>
  </os>
  <sysinfo type='smbios'>
    <system>
      <entry name='manufacturer'>{manufacturer}</entry>
      <entry name='product'>{product}</entry>
      <entry name='serial'>{uuid}</entry>
      <entry name='uuid'>{uuid}</entry>
    </system>
  </sysinfo>
"
    )
}

/// With KVM the host's own processor. Emulated one that distributions built for x86-64-v2 accept:
/// anything newer has vector instructions that are slow to emulate.
fn processor(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "  <cpu mode='host-passthrough' check='none'/>\n",
        Accelerator::Emulation => {
            "  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>Nehalem</model>
    <feature policy='require' name='rdrand'/>
  </cpu>
"
        }
    }
}

/// The chain of the disk is spelt out, so that no header is ever believed.
fn disks(around: &Surroundings) -> String {
    let path = |path: &Path| escape(&path.display().to_string());
    let (base, format) = around.base;
    let mut xml = format!(
        "    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='{}'/>
      <backingStore type='file'>
        <format type='{}'/>
        <source file='{}'/>
        <backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
    </disk>
",
        path(around.disk),
        escape(format),
        path(base),
    );
    if let Some(drive) = around.drive {
        let _ = write!(
            xml,
            "    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{}'/>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
    </disk>
",
            path(drive),
        );
    }
    xml
}

/// A managed interface is a tap of ours, which libvirt opens and does not manage. An unmanaged one
/// belongs to libvirt's network `default`, which the operator may define as he likes. Neither has a
/// boot ROM: machines boot from their disks.
fn interface(uuid: &str, nic: &Nic, networks: &BTreeMap<u32, Network>) -> String {
    let (kind, source, mac, mtu) = match &nic.attachment {
        Attachment::Managed { vni, ip, mac } => (
            "ethernet",
            format!("<target dev='{}' managed='no'/>", device_name(*vni, *ip)),
            mac.to_string(),
            networks
                .get(vni)
                .map(|network| format!("\n      <mtu size='{}'/>", network.mtu))
                .unwrap_or_default(),
        ),
        Attachment::Unmanaged { .. } => (
            "network",
            "<source network='default'/>".into(),
            unmanaged_mac(uuid, nic.device),
            String::new(),
        ),
    };
    format!(
        "    <interface type='{kind}'>
      {source}
      <mac address='{mac}'/>
      <model type='virtio'/>{mtu}
      <rom enabled='no'/>
    </interface>
"
    )
}

/// The same at every start, so that a guest which ties its settings to the address keeps them.
/// QEMU's own prefix, in which nothing of ours on managed networks lies.
#[must_use]
pub fn unmanaged_mac(uuid: &str, device: u32) -> String {
    let hash = blake3::hash(format!("{uuid}/{device}").as_bytes());
    let [a, b, c, ..] = hash.as_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

fn consoles(log: &Path) -> String {
    format!(
        "    <controller type='usb' model='none'/>
    <serial type='pty'>
      <log file='{}' append='on'/>
      <target port='0'/>
    </serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <graphics type='vnc' keymap='en-us'><listen type='socket'/></graphics>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
",
        escape(&log.display().to_string()),
    )
}

#[cfg(test)]
mod tests;
