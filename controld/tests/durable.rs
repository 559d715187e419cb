//! What was answered is kept, however controld ends.

// Helpers of tests may panic like tests.
#![allow(clippy::unwrap_used)]

use controld::core::{Core, Created, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A controld as a process of its own, killed when it goes out of scope.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(data: &Path) -> Self {
        let config = data.with_extension("toml");
        std::fs::write(&config, "overlay = \"vxlan\"\n").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_controld"))
            .args(["serve", "--open", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("controld serves") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "controld did not start");
        }
        // It must not stall on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let line: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: line["fields"]["api"].as_str().unwrap().parse().unwrap() }
    }

    /// Creates a container; none when the connection broke before the answer.
    fn create(&self, name: &str) -> Option<Value> {
        let body = json!({"imageUuid": "docker:a", "name": name}).to_string();
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(
            stream,
            "POST /v1/containers HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Idempotency-Key: {name}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
        serde_json::from_str(body).ok()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut answered = Vec::new();
    for round in 0..8 {
        let mut daemon = Daemon::start(&data);
        std::thread::scope(|scope| {
            let daemon = &daemon;
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    scope.spawn(move || {
                        (0..)
                            .map_while(|number| {
                                daemon.create(&format!("{round}-{client}-{number}"))
                            })
                            .take(if client == 0 { 5 } else { 200 })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            // The first client's last answer ends this run, in the midst of the others' requests.
            let mut clients = clients.into_iter();
            answered.extend(clients.next().unwrap().join().unwrap());
            let pid = nix::unistd::Pid::from_raw(daemon.child.id().cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            clients.for_each(|client| answered.extend(client.join().unwrap()));
        });
        daemon.kill();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare(&data, &answered));
}

/// Everything that was answered is there as it was answered, and nothing is given twice.
async fn compare(data: &Path, answered: &[Value]) {
    let (core, _closed) = Core::open_idle(data, Settings::default()).await.unwrap();
    let admin = core.admin();
    assert!(answered.len() >= 40);
    for answer in answered {
        let found = core.get(&admin, "container", answer["id"].as_str().unwrap()).unwrap();
        for field in ["uuid", "name", "primaryIpAddress"] {
            assert_eq!(found.fields[field], answer[field]);
        }
    }
    let all = core.list(&admin, "ipAddress");
    let addresses: BTreeSet<&str> =
        all.iter().map(|view| view.fields["address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), all.len());
    assert_eq!(core.list(&admin, "container").len(), all.len(), "no half a container");
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let data = tempfile::tempdir().unwrap();
    let create = async |core: &Core, name: &str| {
        let fields = json!({"imageUuid": "docker:a", "name": name});
        let fields = fields.as_object().cloned().unwrap();
        core.create(&core.admin(), "container", fields, Some("key")).await
    };
    let (core, closed) = Core::open_idle(data.path(), Settings::default()).await.unwrap();
    let Created::One(first) = create(&core, "a").await.unwrap() else { panic!("one is wanted") };
    let Created::One(again) = create(&core, "a").await.unwrap() else { panic!("one is wanted") };
    assert_eq!(first.id, again.id);
    let refused = create(&core, "b").await.unwrap_err();
    assert_eq!((refused.status, refused.code), (422, "IdempotencyKeyReused"));
    drop(core);
    closed.await.unwrap();
    let (core, _closed) = Core::open_idle(data.path(), Settings::default()).await.unwrap();
    let Created::One(later) = create(&core, "a").await.unwrap() else { panic!("one is wanted") };
    assert_eq!(first.id, later.id);
}
