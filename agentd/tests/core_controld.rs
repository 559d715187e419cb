//! The agent as a process, with simulated drivers, against a controld in miniature.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(dead_code, reason = "each test file uses a part of what they share")]

mod core_fixture;
mod core_mock;

use agentd::overview::Overview;
use agentd::sync::Contact;
use api::item::Meaning;
use core_fixture::{endpoint, host, network};
use core_mock::{Authority, Mock, truth};
use rcgen::ExtendedKeyUsagePurpose;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

fn meanings(endpoints: u8) -> Vec<Meaning> {
    let mut meanings = vec![host("192.0.2.1"), network()];
    meanings.extend((0..endpoints).map(|last| endpoint(Ipv4Addr::new(10, 42, 1, last), "")));
    meanings
}

/// An agent process with folders of its own; killed when dropped.
struct Agent {
    folder: TempDir,
    child: Option<Child>,
}

impl Agent {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), child: None }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command.arg(verb).arg("--data").arg(self.folder.path().join("data"));
        command.arg("--run-dir").arg(self.folder.path().join("run")).kill_on_drop(true);
        command
    }

    fn start(&mut self, url: &str, token: &str) {
        let mut command = self.command("run");
        command.args(["--simulate", "--controld", url, "--token", token]);
        self.child = Some(command.stderr(Stdio::null()).spawn().unwrap());
    }

    async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(15), child.wait()).await;
        assert!(ended.expect("ends in time").unwrap().success());
    }

    /// Asks the agent until it shows what is wanted.
    async fn overview(&self, wanted: impl Fn(&Overview) -> bool) -> Overview {
        let socket = self.folder.path().join("run/agentd.sock");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = agentd::control::overview(&socket).await;
            match answer {
                Ok(overview) if wanted(&overview) => return overview,
                other => assert!(Instant::now() < deadline, "not in time: {other:#?}"),
            }
            // Nothing tells of a change but asking again.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn enrols_follows_and_reports() {
    let authority = Arc::new(Authority::new());
    let mut mock = Mock::start(&authority, truth(3, &meanings(2))).await;
    let mut agent = Agent::new();
    agent.start(&mock.url(), &authority.token());
    let report = mock.report(|report| report.applied_generation == 3).await;
    assert!(report.facts.simulated && report.facts.cpus > 0 && report.errors.is_empty());
    assert_eq!(report.applied_hash, truth(3, &meanings(2)).hash);
    let changed = Instant::now();
    mock.publish(truth(4, &meanings(3)));
    let next = mock.report(|report| report.applied_generation == 4).await;
    assert!(next.seq > report.seq && next.boot == report.boot);
    assert!(changed.elapsed() < Duration::from_secs(5), "pushed, not polled");
    let overview = agent.overview(|overview| overview.contact == Contact::Connected).await;
    assert_eq!((overview.generation, overview.number), (4, Some(1)));
    agent.stop().await;
    assert!(!agent.folder.path().join("run/agentd.sock").exists());
    assert_eq!(mock.shared.enrolments.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn boots_from_the_ledger_and_greets_a_new_controld() {
    let authority = Arc::new(Authority::new());
    let mut mock = Mock::start(&authority, truth(3, &meanings(2))).await;
    let (mut agent, address) = (Agent::new(), mock.address.to_string());
    agent.start(&mock.url(), &authority.token());
    let first = mock.report(|report| report.applied_generation == 3).await;
    agent.stop().await;
    mock.end().await;
    // The address is taken by nobody now: controld is gone, and there is no token any more.
    agent.start(&format!("https://{address}"), "none");
    let overview = agent.overview(|overview| overview.report.applied_generation == 3).await;
    assert_ne!(overview.contact, Contact::Connected);
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let mut mock = Mock::start_at(&address, &authority, truth(3, &meanings(2)), purpose).await;
    let again = mock.report(|report| report.applied_generation == 3).await;
    assert_ne!(again.boot, first.boot);
    // Another controld at the same place, with the same truth: it gets a report without asking.
    mock.end().await;
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let mut mock = Mock::start_at(&address, &authority, truth(3, &meanings(2)), purpose).await;
    let greeted = mock.report(|_| true).await;
    assert_eq!(greeted.boot, again.boot);
    assert_eq!(mock.shared.enrolments.load(Ordering::Relaxed), 0, "the certificate was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_host_runs_nothing_until_it_is_taken_back() {
    let authority = Arc::new(Authority::new());
    let mut mock = Mock::start(&authority, truth(3, &meanings(2))).await;
    let mut agent = Agent::new();
    agent.start(&mock.url(), &authority.token());
    mock.report(|report| report.applied_generation == 3).await;
    mock.shared.fence.store(true, Ordering::Relaxed);
    mock.publish(truth(4, &meanings(2)));
    agent.overview(|overview| overview.contact == Contact::Fenced).await;
    assert!(agent.folder.path().join("data/fenced").exists());
    mock.shared.fence.store(false, Ordering::Relaxed);
    agent.overview(|overview| overview.contact == Contact::Connected).await;
    mock.report(|report| report.applied_generation == 4).await;
    assert!(!agent.folder.path().join("data/fenced").exists());
}

async fn ends_with(agent: &mut Agent, url: &str, token: &str) -> String {
    let mut command = agent.command("run");
    command.args(["--simulate", "--controld", url, "--token", token]);
    let output = tokio::time::timeout(Duration::from_secs(20), command.output()).await;
    let output = output.expect("ends in time").unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_agent_with_the_reason() {
    let authority = Arc::new(Authority::new());
    let mock = Mock::start(&authority, truth(3, &[])).await;
    mock.shared.refuse_token.store(true, Ordering::Relaxed);
    let mut agent = Agent::new();
    let log = ends_with(&mut agent, &mock.url(), &authority.token()).await;
    assert!(log.contains("token-used"), "{log}");
    assert!(!log.contains(core_mock::SECRET), "a secret never shows");
    let log = ends_with(&mut agent, &mock.url(), "nonsense").await;
    assert!(log.contains("cloud.ca-sha256.id.secret"), "{log}");
}

/// Starts an agent that must not trust the mock, and waits until it said so twice.
async fn distrusts(mock: &Mock, token: &str) {
    let agent = Agent::new();
    let mut command = agent.command("run");
    command.args(["--simulate", "--controld", &mock.url(), "--token", token]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stderr.take().unwrap());
    let mut refusals = 0;
    let mut log = String::new();
    let reading = async {
        while refusals < 2 {
            let start = log.len();
            let read = tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut log).await.unwrap();
            assert!(read > 0, "the agent ended: {log}");
            refusals += u32::from(log[start..].contains("invalid peer certificate"));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("tries again");
    assert_eq!(mock.shared.enrolments.load(Ordering::Relaxed), 0, "the secret was not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_goes_to_the_pinned_controld_only() {
    let authority = Arc::new(Authority::new());
    let stranger = Arc::new(Authority::new());
    let mock = Mock::start(&stranger, truth(1, &[])).await;
    distrusts(&mock, &authority.token()).await;
    // Another agent's certificate chains to the right CA and is no server's all the same.
    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    let mock = Mock::start_at("127.0.0.1:0", &authority, truth(1, &[]), purpose).await;
    distrusts(&mock, &authority.token()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_do_not_share_a_data_folder() {
    let authority = Arc::new(Authority::new());
    let mut mock = Mock::start(&authority, truth(3, &meanings(0))).await;
    let mut agent = Agent::new();
    agent.start(&mock.url(), &authority.token());
    mock.report(|report| report.applied_generation == 3).await;
    let log = ends_with(&mut agent, &mock.url(), &authority.token()).await;
    assert!(log.contains("an agentd is running"), "{log}");
    let socket: &Path = &agent.folder.path().join("run/agentd.sock");
    agentd::control::overview(socket).await.expect("the first one goes on");
}
