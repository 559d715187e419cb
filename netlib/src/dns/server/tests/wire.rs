//! What the server's answers look like on the wire, whatever it was sent.

use super::*;
use hickory_proto::op::{Edns, MessageType, OpCode};

/// A header alone. In bytes.
const HEADER: usize = 12;

fn asking(size: Option<u16>, name: &str) -> Message {
    let mut message = Message::query();
    message.metadata.id = 77;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if let Some(size) = size {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

/// A network with many addresses of one name.
fn crowd() -> View {
    let mut view = view(&[]);
    for last in 10..210 {
        view.insert(Ipv4Addr::new(10, 42, 1, last), &["many"]);
    }
    view
}

async fn exchange(bytes: &[u8]) -> Vec<u8> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.9:0").await.unwrap();
    socket.send_to(bytes, (SERVER, PORT)).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

async fn code(bytes: &[u8]) -> ResponseCode {
    Message::from_vec(&exchange(bytes).await).unwrap().metadata.response_code
}

#[test]
fn an_answer_repeats_the_question_as_it_was_written() {
    in_namespace(async |namespace| {
        let _view = start(namespace, &[]);
        let bytes = exchange(&asking(None, "WeB.stampede.internal.").to_vec().unwrap()).await;
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.metadata.id, 77);
        assert!(message.metadata.authoritative && message.metadata.recursion_desired);
        assert!(message.metadata.recursion_available && !message.metadata.truncation);
        assert_eq!(message.queries[0].name().to_ascii(), "WeB.stampede.internal.");
        assert!(message.edns.is_none());
        assert_eq!(addresses(&message), [WEB]);
    });
}

#[test]
fn long_answers_are_cut_by_datagram_and_whole_by_connection() {
    in_namespace(async |namespace| {
        start(namespace, &[]).store(Arc::new(crowd()));
        for (size, limit) in [(None, 512), (Some(600), 600), (Some(4096), 1232), (Some(100), 512)] {
            let bytes = exchange(&asking(size, "many").to_vec().unwrap()).await;
            assert!(bytes.len() <= limit, "{} > {limit}", bytes.len());
            assert!(Message::from_vec(&bytes).unwrap().metadata.truncation);
        }
        let mut stream = TcpStream::connect((SERVER, PORT)).await.unwrap();
        let whole = ask_by(&mut stream, "many").await;
        assert!(!whole.metadata.truncation);
        assert_eq!(addresses(&whole).len(), 200);
    });
}

#[test]
fn who_speaks_of_extensions_hears_of_them() {
    in_namespace(async |namespace| {
        let _view = start(namespace, &[]);
        let mut message = asking(Some(1232), "web");
        let answer = Message::from_vec(&exchange(&message.to_vec().unwrap()).await).unwrap();
        assert_eq!(answer.edns.unwrap().max_payload(), 1232);
        message.edns.as_mut().unwrap().set_version(1);
        // 16 means BADVERS without a signature; the library reads it as BADSIG.
        assert_eq!(u16::from(code(&message.to_vec().unwrap()).await), 16);
    });
}

#[test]
fn what_is_no_question_gets_an_error_or_silence() {
    in_namespace(async |namespace| {
        let _view = start(namespace, &[]);
        let mut update = asking(None, "web");
        update.metadata.op_code = OpCode::Update;
        assert_eq!(code(&update.to_vec().unwrap()).await, ResponseCode::NotImp);
        let mut two = asking(None, "web");
        two.add_query(two.queries[0].clone());
        assert_eq!(code(&two.to_vec().unwrap()).await, ResponseCode::FormErr);
        let none = Message::query().to_vec().unwrap();
        assert_eq!(code(&none).await, ResponseCode::FormErr);
        let whole = asking(None, "web").to_vec().unwrap();
        for length in HEADER..whole.len() {
            assert_eq!(code(&whole[..length]).await, ResponseCode::FormErr, "{length}");
        }
        // A claim of 65 535 questions.
        let mut boast = whole.clone();
        boast[4..6].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(code(&boast).await, ResponseCode::FormErr);

        // Answering answers would make two servers talk for ever.
        let mut response = asking(None, "web");
        response.metadata.message_type = MessageType::Response;
        let socket = tokio::net::UdpSocket::bind("127.0.0.9:0").await.unwrap();
        for noise in [&response.to_vec().unwrap()[..], &whole[..HEADER - 1], &[]] {
            socket.send_to(noise, (SERVER, PORT)).await.unwrap();
        }
        let mut last = asking(None, "web");
        last.metadata.id = 78;
        socket.send_to(&last.to_vec().unwrap(), (SERVER, PORT)).await.unwrap();
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).await.unwrap();
        assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.id, 78);
    });
}
