//! The server on real sockets in a namespace of its own (needs root).

use super::*;
use crate::dns::Zone;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod wire;

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const UPSTREAM: &str = "127.0.0.2:5300";
const DEAF: &str = "127.0.0.3:5300";
const WEB: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 5);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

/// Runs `test` inside a new namespace that has a loopback device and goes away afterwards.
fn in_namespace(test: impl AsyncFnOnce(&Path) + Send) {
    struct Removed(std::path::PathBuf);
    impl Drop for Removed {
        fn drop(&mut self) {
            if let Err(error) = netns::remove(&self.0) {
                eprintln!("{error}");
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network");
    netns::create(&path).unwrap();
    let _removed = Removed(path.clone());
    let run = || {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&path));
    };
    netns::enter(&path, run).unwrap();
}

fn view(upstreams: &[&str]) -> View {
    let mut view = View::new(&Zone {
        domains: vec!["stampede.internal".into()],
        cidr: "10.42.0.0/16".parse().unwrap(),
        upstreams: upstreams.iter().map(|text| text.parse().unwrap()).collect(),
    })
    .unwrap();
    view.insert(WEB, &["web"]);
    view
}

fn start(namespace: &Path, upstreams: &[&str]) -> Arc<ArcSwap<View>> {
    let shared = Arc::new(ArcSwap::from_pointee(view(upstreams)));
    let sockets = open(namespace, SERVER).unwrap();
    tokio::spawn(serve(sockets, shared.clone(), std::future::pending()));
    shared
}

/// A resolver outside that knows one address for every name and counts how often it is asked.
async fn start_upstream() -> Arc<AtomicUsize> {
    let socket = tokio::net::UdpSocket::bind(UPSTREAM).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = message.queries[0].name().clone();
            message.metadata.recursion_available = true;
            if name.to_ascii().starts_with("missing") {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else {
                message.add_answer(Record::from_rdata(name, 60, RData::A(A(OUTSIDE))));
            }
            socket.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    asked
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

async fn ask(name: &str) -> Message {
    let socket = tokio::net::UdpSocket::bind("127.0.0.9:0").await.unwrap();
    socket.send_to(&question(name), (SERVER, PORT)).await.unwrap();
    let mut buffer = [0; 1500];
    let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(peer, (SERVER, PORT).into());
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn ask_by(stream: &mut TcpStream, name: &str) -> Message {
    let bytes = question(name);
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let address = |record: &Record| match record.data {
        RData::A(A(ip)) => Some(ip),
        _ => None,
    };
    message.answers.iter().filter_map(address).collect()
}

#[test]
fn own_names_are_answered_and_others_forwarded_once() {
    in_namespace(async |namespace| {
        let asked = start_upstream().await;
        let _view = start(namespace, &[UPSTREAM]);
        let own = ask("web.stampede.internal.").await;
        assert!(own.metadata.authoritative);
        assert_eq!(addresses(&own), [WEB]);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        for _ in 0..3 {
            let other = ask("www.example.com.").await;
            assert!(!other.metadata.authoritative);
            assert_eq!(addresses(&other), [OUTSIDE]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "the cache answers the repeats");
        let missing = ask("missing.example.com.").await;
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    });
}

#[test]
fn a_swapped_view_counts_from_the_next_question_on() {
    in_namespace(async |namespace| {
        let shared = start(namespace, &[]);
        let mut moved = View::clone(&shared.load());
        let ip = Ipv4Addr::new(10, 42, 0, 9);
        moved.remove(WEB);
        moved.insert(ip, &["web"]);
        shared.store(Arc::new(moved));
        assert_eq!(addresses(&ask("web").await), [ip]);
    });
}

#[test]
fn one_connection_carries_many_questions() {
    in_namespace(async |namespace| {
        start_upstream().await;
        let _view = start(namespace, &[UPSTREAM]);
        let mut stream = TcpStream::connect((SERVER, PORT)).await.unwrap();
        assert_eq!(addresses(&ask_by(&mut stream, "web").await), [WEB]);
        assert_eq!(addresses(&ask_by(&mut stream, "www.example.com.").await), [OUTSIDE]);
        assert_eq!(addresses(&ask_by(&mut stream, "web").await), [WEB]);
    });
}

#[test]
fn one_guest_cannot_take_all_connections() {
    in_namespace(async |namespace| {
        let _view = start(namespace, &[]);
        let connect = async |from: &str| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(from.parse().unwrap()).unwrap();
            socket.connect((SERVER, PORT).into()).await.unwrap()
        };
        let mut greedy = Vec::new();
        for _ in 0..16 {
            let mut stream = connect("127.0.0.9:0").await;
            assert_eq!(addresses(&ask_by(&mut stream, "web").await), [WEB]);
            greedy.push(stream);
        }
        let mut refused = connect("127.0.0.9:0").await;
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
        let mut modest = connect("127.0.0.10:0").await;
        assert_eq!(addresses(&ask_by(&mut modest, "web").await), [WEB]);
        greedy.clear();
        // The server learns of closed connections in its own time: asked until it has.
        loop {
            let mut stream = connect("127.0.0.9:0").await;
            let bytes = question("web");
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length[..], &bytes].concat()).await.is_ok()
                && stream.read_u16().await.is_ok()
            {
                break;
            }
        }
    });
}

#[test]
fn without_a_resolver_that_answers_there_is_a_failure_in_time() {
    in_namespace(async |namespace| {
        let shared = start(namespace, &[]);
        let none = ask("www.example.com.").await;
        assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
        let _bound = tokio::net::UdpSocket::bind(DEAF).await.unwrap();
        shared.store(Arc::new(view(&[DEAF])));
        let asking = tokio::time::timeout(std::time::Duration::from_secs(5), ask("a.example."));
        let deaf = asking.await.expect("an answer before guests give up");
        assert_eq!(deaf.metadata.response_code, ResponseCode::ServFail);
        start_upstream().await;
        shared.store(Arc::new(view(&[DEAF, UPSTREAM])));
        assert_eq!(addresses(&ask("b.example.").await), [OUTSIDE]);
    });
}

#[test]
fn nothing_is_open_any_more_when_it_has_stopped() {
    in_namespace(async |namespace| {
        let deaf = tokio::net::UdpSocket::bind(DEAF).await.unwrap();
        let sockets = open(namespace, SERVER).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let shared = Arc::new(ArcSwap::from_pointee(view(&[DEAF])));
        let serving = tokio::spawn(serve(sockets, shared, stopped));
        let mut stream = TcpStream::connect((SERVER, PORT)).await.unwrap();
        assert_eq!(addresses(&ask_by(&mut stream, "web").await), [WEB]);
        let asking = tokio::net::UdpSocket::bind("127.0.0.9:0").await.unwrap();
        asking.send_to(&question("a.example."), (SERVER, PORT)).await.unwrap();
        deaf.recv_from(&mut [0; 1500]).await.unwrap(); // It is being forwarded.
        drop(stop);
        serving.await.unwrap().unwrap();
        let left = |kind: &str| {
            let output = Command::new("ss").args([kind, "-Han", "sport = 53"]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(left("-u"), "");
        let left = left("-t");
        assert!(!left.contains("LISTEN") && !left.contains("ESTAB"), "{left}");
    });
}
