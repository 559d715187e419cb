use super::*;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn question(edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.id = 77;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii("WeB.example.").unwrap(), RecordType::A));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

fn read(message: &Message) -> Box<Question> {
    match Incoming::read(&message.to_vec().unwrap()) {
        Incoming::Question(question) => question,
        other => panic!("{other:?}"),
    }
}

fn many(count: u8) -> Response {
    let name = Name::from_ascii("web.example.").unwrap();
    let record =
        |last| Record::from_rdata(name.clone(), 5, RData::A(A(Ipv4Addr::new(10, 42, 0, last))));
    Response {
        authoritative: true,
        answers: (0..count).map(record).collect(),
        ..Response::bare(ResponseCode::NoError)
    }
}

fn written(edns: Option<u16>, response: Response, transport: Transport) -> (Message, usize) {
    let bytes = read(&question(edns)).write(response, transport).unwrap();
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

#[test]
fn an_answer_repeats_the_question_as_it_was_written() {
    let (message, _) = written(None, many(1), Transport::Udp);
    assert_eq!(message.metadata.id, 77);
    assert!(message.metadata.authoritative && message.metadata.recursion_desired);
    assert!(message.metadata.recursion_available && !message.metadata.truncation);
    assert_eq!(message.queries[0].name().to_ascii(), "WeB.example.");
    assert!(message.edns.is_none());
    assert_eq!(message.answers.len(), 1);
}

#[test]
fn long_answers_are_cut_by_datagram_and_whole_by_connection() {
    for (edns, limit) in [(None, 512), (Some(600), 600), (Some(4096), 1232), (Some(100), 512)] {
        let (message, length) = written(edns, many(200), Transport::Udp);
        assert!(message.metadata.truncation);
        assert!(length <= limit, "{length} > {limit}");
    }
    let (message, _) = written(None, many(200), Transport::Tcp);
    assert!(!message.metadata.truncation);
    assert_eq!(message.answers.len(), 200);
}

#[test]
fn who_speaks_of_extensions_hears_of_them() {
    let (message, _) = written(Some(1232), many(1), Transport::Udp);
    assert_eq!(message.edns.unwrap().max_payload(), 1232);
    let mut newer = question(Some(1232));
    newer.edns.as_mut().unwrap().set_version(1);
    let Incoming::Wrong(bytes) = Incoming::read(&newer.to_vec().unwrap()) else { panic!() };
    let refusal = Message::from_vec(&bytes).unwrap();
    // 16 means BADVERS without a signature; the library reads it as BADSIG.
    assert_eq!(u16::from(refusal.metadata.response_code), 16);
}

#[test]
fn what_is_no_question_gets_an_error_or_silence() {
    let code = |bytes: &[u8]| match Incoming::read(bytes) {
        Incoming::Wrong(bytes) => Some(Message::from_vec(&bytes).unwrap().metadata.response_code),
        Incoming::Noise => None,
        Incoming::Question(question) => panic!("{question:?}"),
    };
    let mut response = question(None);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(code(&response.to_vec().unwrap()), None);
    let mut update = question(None);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update.to_vec().unwrap()), Some(ResponseCode::NotImp));
    let mut two = question(None);
    two.add_query(two.queries[0].clone());
    assert_eq!(code(&two.to_vec().unwrap()), Some(ResponseCode::FormErr));
    assert_eq!(code(&Message::query().to_vec().unwrap()), Some(ResponseCode::FormErr));
    let whole = question(None).to_vec().unwrap();
    for length in 0..whole.len() {
        let expected = (length >= HEADER).then_some(ResponseCode::FormErr);
        assert_eq!(code(&whole[..length]), expected, "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Incoming::read(&bytes);
    }

    #[test]
    fn no_change_to_a_question_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = question(Some(1232)).to_vec().unwrap();
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Incoming::Question(question) = Incoming::read(&bytes) {
            let _ = question.write(many(3), Transport::Udp);
        }
    }
}
