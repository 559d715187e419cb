//! What was answered is kept, however controld ends.

use crate::daemon::Daemon;
use controld::core::{Core, Created, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// Creates a container; none when the connection broke before the answer.
fn create(daemon: &Daemon, name: &str) -> Option<Value> {
    let body = json!({"imageUuid": "docker:a", "name": name}).to_string();
    let mut stream = TcpStream::connect(daemon.address).ok()?;
    write!(
        stream,
        "POST /v1/containers HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Idempotency-Key: {name}\r\nContent-Length: {}\r\n\r\n{body}",
        daemon.address,
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
    serde_json::from_str(body).ok()
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
                                create(daemon, &format!("{round}-{client}-{number}"))
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
    let repeat = async |core: &Core, name: &str| {
        let fields = json!({"imageUuid": "docker:a", "name": name});
        let fields = fields.as_object().cloned().unwrap();
        core.create(&core.admin(), "container", fields, Some("key")).await
    };
    let (core, closed) = Core::open_idle(data.path(), Settings::default()).await.unwrap();
    let Created::One(first) = repeat(&core, "a").await.unwrap() else { panic!("one is wanted") };
    let Created::One(again) = repeat(&core, "a").await.unwrap() else { panic!("one is wanted") };
    assert_eq!(first.id, again.id);
    let refused = repeat(&core, "b").await.unwrap_err();
    assert_eq!((refused.status, refused.code), (422, "IdempotencyKeyReused"));
    drop(core);
    closed.await.unwrap();
    let (core, _closed) = Core::open_idle(data.path(), Settings::default()).await.unwrap();
    let Created::One(later) = repeat(&core, "a").await.unwrap() else { panic!("one is wanted") };
    assert_eq!(first.id, later.id);
}
