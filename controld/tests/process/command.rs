//! The command line: tokens with and without the daemon, settings that are refused.

use crate::daemon::{Daemon, serve};
use api::enrol::Token;
use std::path::Path;
use std::process::{Command, Output};

fn token(data: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controld"));
    command.arg("token").args(words).arg("--data").arg(data).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The last word of the last line.
fn create(data: &Path) -> Token {
    let text = printed(&token(data, &["create"]));
    text.lines().last().unwrap().split(' ').next_back().unwrap().parse().unwrap()
}

#[test]
fn tokens_are_made_and_taken_back_whether_the_daemon_runs_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = create(&data);
    let mut daemon = Daemon::start(&data);
    let second = create(&data);
    assert_eq!((&first.cloud, &first.ca_sha256), (&second.cloud, &second.ca_sha256));
    printed(&token(&data, &["revoke", &first.id]));
    let list = printed(&token(&data, &["list"]));
    let line = |id: &str| list.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line(&first.id).contains("revoked") && line(&second.id).contains("good"), "{list}");
    assert!(!list.contains(first.secret.expose()));

    let unknown = token(&data, &["revoke", "1c999"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no such registrationToken"));

    // A killed daemon leaves its socket behind, and nobody in the way.
    daemon.kill();
    assert_eq!(printed(&token(&data, &["list"])), list);
}

#[test]
fn one_daemon_has_the_store_open() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _daemon = Daemon::start(&data);
    let second = serve(&data, "overlay = \"vxlan\"\n").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another controld uses"));
}

#[test]
fn ends_cleanly_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut daemon = Daemon::start(&data);
    let pid = nix::unistd::Pid::from_raw(daemon.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.child.wait().unwrap().success());
    assert!(!data.join("store.sqlite-wal").exists(), "the store was closed");
}

#[test]
fn unsafe_and_unknown_settings_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (config, flags, remedy) in [
        ("", &[][..], "overlay = \"vxlan\""),
        ("purge_afer = 0\n", &[], "unknown field `purge_afer`"),
        ("overlay = \"vxlan\"\n", &["--open", "--listen", "0.0.0.0:0"], "loopback"),
        ("overlay = \"vxlan\"\n", &["--listen", "0.0.0.0:0"], "--plain-http"),
    ] {
        let output = serve(&data, config).args(flags).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(remedy), "{config}{flags:?}: {text}");
    }
    assert!(!data.exists(), "nothing was made");
}
