//! The drive is read with mtools and blkid, as guests read it with the kernel.

use super::*;
use crate::instance::UserData;
use crate::instance::tests::example;
use std::path::PathBuf;
use std::process::Command;

struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written(drive: &Drive) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(&drive.name);
    std::fs::write(&path, &*drive.bytes).unwrap();
    Written { _folder: folder, path }
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output.stdout
}

impl Written {
    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn tag(&self, name: &str) -> String {
        let value = run("blkid", &["-p", "-s", name, "-o", "value", self.path()]);
        String::from_utf8(value).unwrap().trim().into()
    }

    fn file(&self, path: &str) -> Vec<u8> {
        run("mtype", &["-i", self.path(), &format!("::/{path}")])
    }
}

#[test]
fn a_config_drive_has_every_file_where_guests_look() {
    let drive = config_drive(&example(), Kind::ConfigDrive).unwrap();
    let written = written(&drive);
    assert_eq!((written.tag("LABEL"), written.tag("TYPE")), ("config-2".into(), "vfat".into()));
    let listing = run("mdir", &["-i", written.path(), "-b", "-/", "::/"]);
    let listing = String::from_utf8(listing).unwrap();
    for path in ["ec2/2009-04-04", "ec2/latest"] {
        assert!(listing.contains(&format!("::/{path}/meta-data.json")), "{listing}");
        assert_eq!(written.file(&format!("{path}/user-data")), [0x1f, 0x8b, 0, 0xff, b'\n']);
    }
    for path in ["openstack/2012-08-10", "openstack/latest"] {
        for (name, document) in openstack::documents(&example()) {
            assert!(listing.contains(&format!("::/{path}/{name}")), "{listing}");
            assert_eq!(written.file(&format!("{path}/{name}")), document.as_bytes());
        }
        assert_eq!(written.file(&format!("{path}/user_data")), [0x1f, 0x8b, 0, 0xff, b'\n']);
    }
    let ec2: Value = serde_json::from_slice(&written.file("ec2/latest/meta-data.json")).unwrap();
    assert_eq!(ec2["public-keys"]["0"]["openssh-key"], "ssh-ed25519 AAAA alice");
    assert_eq!(ec2["instance-id"], "i-1i12");
}

#[test]
fn a_seed_has_its_files_at_the_root() {
    let without = Instance { userdata: None, ..example() };
    let drive = config_drive(&without, Kind::Nocloud).unwrap();
    let written = written(&drive);
    assert_eq!(written.tag("LABEL"), "cidata");
    assert_eq!(written.file("user-data"), b"");
    for (name, document) in nocloud::documents(&without) {
        assert_eq!(written.file(name), document.as_bytes());
    }
}

#[test]
fn the_largest_user_data_fit_bit_by_bit() {
    let bytes: Vec<u8> = (0..64 << 10).map(|number: u32| number.to_le_bytes()[0] ^ 0x5a).collect();
    let instance = Instance { userdata: Some(UserData::new(bytes.clone())), ..example() };
    let written = written(&config_drive(&instance, Kind::ConfigDrive).unwrap());
    assert!(written.file("openstack/latest/user_data") == bytes);
    assert!(written.file("ec2/2009-04-04/user-data") == bytes);
}

#[test]
fn equal_content_gives_equal_bytes_and_names() {
    let one = config_drive(&example(), Kind::ConfigDrive).unwrap();
    assert!(one == config_drive(&example(), Kind::ConfigDrive).unwrap());
    let renamed = Instance { hostname: "other".into(), ..example() };
    let other = config_drive(&renamed, Kind::ConfigDrive).unwrap();
    assert_ne!(one.name, other.name);
    assert_ne!(one.name, config_drive(&example(), Kind::Nocloud).unwrap().name);
    assert!(is_drive_of(&example().uuid, &one.name) && is_drive_of(&example().uuid, &other.name));
    for foreign in ["config-x-y.img", "disk.qcow2", &one.name.replace("0b9d", "1b9d")] {
        assert!(!is_drive_of(&example().uuid, foreign), "{foreign}");
    }
}
