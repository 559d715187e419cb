use super::*;
use crate::instance::tests::example;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// The addresses guests ask from.
const GUEST: &str = "127.0.0.5";
const OTHER: &str = "127.0.0.6";
const STRANGER: &str = "127.0.0.7";

/// A running service and what it knows.
struct Bed {
    address: SocketAddr,
    guests: Arc<Mutex<HashMap<IpAddr, Arc<Instance>>>>,
}

impl Bed {
    async fn new() -> Self {
        let other = Instance { uuid: "other".into(), id: "1i13".into(), ..example() };
        let guests = HashMap::from([
            (GUEST.parse().unwrap(), Arc::new(example())),
            (OTHER.parse().unwrap(), Arc::new(other)),
        ]);
        let guests = Arc::new(Mutex::new(guests));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let known = guests.clone();
        let lookup: Lookup = Arc::new(move |ip| known.lock().unwrap().get(&ip).cloned());
        tokio::spawn(async move { serve(listener, lookup).await.map(|never| match never {}) });
        Self { address, guests }
    }

    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Sends a request that asks for the connection to be closed; returns head and body.
    async fn ask(&self, from: &str, line: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect(from).await;
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase(), bytes[end + 4..].into())
    }

    fn change(&self, change: impl FnOnce(&mut Instance)) {
        let mut instance = example();
        change(&mut instance);
        self.guests.lock().unwrap().insert(GUEST.parse().unwrap(), Arc::new(instance));
    }
}

#[tokio::test]
async fn the_answer_depends_on_who_asks() {
    let bed = Bed::new().await;
    let line = "GET /latest/meta-data/instance-id";
    let (head, body) = bed.ask(GUEST, line, "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("server: ec2ws") && head.contains("content-type: text/plain"), "{head}");
    assert_eq!(body, b"i-1i12");
    assert_eq!(bed.ask(OTHER, line, "").await.1, b"i-1i13");
    assert!(bed.ask(STRANGER, line, "").await.0.starts_with("http/1.1 404"));
    let (head, body) = bed.ask(STRANGER, "GET /latest", "").await;
    assert!(head.starts_with("http/1.1 301") && head.contains("location: /latest/"), "{head}");
    assert_eq!(body, b"");
}

#[tokio::test]
async fn user_data_are_the_very_bytes() {
    let bed = Bed::new().await;
    let bytes: Vec<u8> = (0..64 << 10).map(|number: u32| number.to_le_bytes()[0]).collect();
    let sent = bytes.clone();
    bed.change(|instance| instance.userdata = Some(crate::UserData::new(sent)));
    assert!(bed.ask(GUEST, "GET /latest/user-data", "").await.1 == bytes);
    let (head, body) = bed.ask(GUEST, "HEAD /latest/user-data", "").await;
    assert!(head.contains("content-length: 65536") && body.is_empty(), "{head}");
}

#[tokio::test]
async fn a_change_shows_in_the_next_answer() {
    let bed = Bed::new().await;
    bed.change(|instance| instance.hostname = "renamed".into());
    let (_, body) = bed.ask(GUEST, "GET /latest/meta-data/hostname", "").await;
    assert_eq!(body, b"renamed.stampede.internal");
}

#[tokio::test]
async fn a_token_opens_what_is_closed_without() {
    let bed = Bed::new().await;
    bed.change(|instance| instance.token_required = true);
    let line = "GET /latest/meta-data/mac";
    assert!(bed.ask(GUEST, line, "").await.0.starts_with("http/1.1 401"));
    let life = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let put = "PUT /latest/api/token";
    let (head, token) = bed.ask(GUEST, put, life).await;
    assert!(head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60"), "{head}");
    let show = |token: &[u8]| {
        format!("X-aws-ec2-metadata-token: {}\r\n", String::from_utf8(token.to_vec()).unwrap())
    };
    assert_eq!(bed.ask(GUEST, line, &show(&token)).await.1, b"02:00:01:00:00:05");
    assert!(bed.ask(OTHER, line, &show(&token)).await.0.starts_with("http/1.1 401"));
    let proxied = format!("{life}X-Forwarded-For: 10.0.0.1\r\n");
    assert!(bed.ask(GUEST, put, &proxied).await.0.starts_with("http/1.1 403"));
    assert!(bed.ask(GUEST, put, "").await.0.starts_with("http/1.1 400"));
}

#[tokio::test]
async fn a_token_goes_no_further_than_the_next_router() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (_client, (stream, _)) = (client.unwrap(), accepted.unwrap());
    Hops::of(&stream).unwrap().limit_to_one().unwrap();
    assert_eq!(stream.ttl().unwrap(), 1);
}

#[tokio::test]
async fn many_requests_may_share_a_connection() {
    let bed = Bed::new().await;
    let mut stream = bed.connect(GUEST).await;
    for _ in 0..3 {
        stream.write_all(b"GET /latest/meta-data/mac HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"02:00:01:00:00:05") {
            seen.push(stream.read_u8().await.unwrap());
        }
    }
}

#[tokio::test]
async fn one_guest_cannot_take_all_connections() {
    let bed = Bed::new().await;
    let mut greedy = Vec::new();
    for _ in 0..CONNECTIONS_OF_ONE {
        let mut stream = bed.connect(GUEST).await;
        stream.write_all(b"GET /latest HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        greedy.push(stream);
    }
    let mut refused = bed.connect(GUEST).await;
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
    assert!(bed.ask(OTHER, "GET /", "").await.0.starts_with("http/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn who_never_ends_its_request_is_cut_off() {
    let bed = Bed::new().await;
    let mut stream = bed.connect(GUEST).await;
    stream.write_all(b"GET /latest HTTP/1.1\r\nHost").await.unwrap();
    let mut bytes = Vec::new();
    let begun = tokio::time::Instant::now();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(begun.elapsed() <= CONNECTION_TIME);
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn nonsense_ends_only_its_own_connection() {
    let bed = Bed::new().await;
    let endless = [b"GET /".as_slice(), &vec![b'a'; 2 * LARGEST_HEADER]].concat();
    for bytes in [b"\0\xff\r\n\r\n".as_slice(), b"BREW / HTCPCP/1.0\r\n\r\n", &endless] {
        let mut stream = bed.connect(GUEST).await;
        // The service may close the connection before all is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(bed.ask(GUEST, "GET /latest/meta-data/local-ipv4", "").await.1, b"10.42.0.5");
}
