//! Binding messages: the vectors that everybody tests with, and whatever else may arrive.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

/// RFC 5769 §2.2: an answer about 192.0.2.1:32853.
const ANSWER: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112\
                      a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

const ID: StunId = StunId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

/// A message with one attribute.
fn with(kind: u16, class: StunClass, value: &[u8]) -> Vec<u8> {
    let mut message = message_type(class, 1).to_be_bytes().to_vec();
    message.extend(((4 + value.len().next_multiple_of(4)) as u16).to_be_bytes());
    message.extend(COOKIE.to_be_bytes());
    message.extend(ID.0);
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(24 + value.len().next_multiple_of(4), 0);
    message
}

#[test]
fn the_answer_that_everybody_tests_with_is_understood() {
    let datagram = bytes(ANSWER);
    let message = StunMessage::decode(&datagram).unwrap();
    assert_eq!((message.class, message.method), (StunClass::Success, 1));
    assert_eq!(message.mapped_address(), Some("192.0.2.1:32853".parse().unwrap()));
    assert!(message.has_fingerprint());
    assert_eq!((message.unknown().count(), message.error()), (0, None));
    for place in 20..datagram.len() {
        let mut other = datagram.clone();
        other[place] ^= 1;
        assert_ne!(StunMessage::decode(&other), Ok(message), "byte {place}");
    }
}

#[test]
fn a_question_is_as_long_as_the_longest_answer_to_it() {
    let six: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
    let four: SocketAddr = "192.0.2.1:9".parse().unwrap();
    assert_eq!(StunBuf::request(ID).bytes().len(), 44);
    assert_eq!(StunBuf::success(ID, six).bytes().len(), 44);
    assert_eq!(StunBuf::success(ID, four).bytes().len(), 32);
    let question = StunBuf::request(ID);
    let message = StunMessage::decode(question.bytes()).unwrap();
    assert_eq!((message.class, message.is_binding(), message.id), (StunClass::Request, true, ID));
    assert_eq!(message.unknown().count(), 0);
}

#[test]
fn an_answer_begins_like_a_packet_with_data_and_a_question_like_none() {
    let answer = StunBuf::success(ID, "192.0.2.1:9".parse().unwrap());
    assert_eq!(answer.bytes()[..2], [1, 1]);
    let question = StunBuf::request(ID);
    let read = crate::wire::Packet::decode(question.bytes());
    assert!(!read.unwrap_err().is_utp());
}

#[test]
fn the_old_form_of_the_address_counts_only_without_the_new_one() {
    let old = with(attribute::MAPPED_ADDRESS, StunClass::Success, &[0, 1, 0, 9, 192, 0, 2, 1]);
    let message = StunMessage::decode(&old).unwrap();
    assert_eq!(message.mapped_address(), Some("192.0.2.1:9".parse().unwrap()));
    let new = StunBuf::success(ID, "192.0.2.2:7".parse().unwrap());
    let mut both = old;
    both.extend(&new.bytes()[20..]);
    both[3] += 12;
    assert_eq!(StunMessage::decode(&both).unwrap().mapped_address(), Some("192.0.2.2:7".parse().unwrap()));
    for strange in [&[0, 3, 0, 9, 1, 2, 3, 4][..], &[0, 1, 0, 9, 1, 2, 3], &[0, 2, 0, 9, 1, 2, 3, 4], &[0, 1]]
    {
        let strange = with(attribute::XOR_MAPPED_ADDRESS, StunClass::Success, strange);
        assert_eq!(StunMessage::decode(&strange).unwrap().mapped_address(), None);
    }
}

#[test]
fn a_refusal_names_what_was_not_understood_and_as_much_as_there_is_room_for() {
    // CHANGE-REQUEST, and one that may be skipped.
    let question = with(3, StunClass::Request, &[0, 0, 0, 6]);
    let message = StunMessage::decode(&question).unwrap();
    assert_eq!(message.unknown().collect::<Vec<_>>(), [3]);
    let refusal = StunBuf::unknown_attributes(ID, message.unknown());
    assert_eq!(refusal.bytes().len(), 36);
    let read = StunMessage::decode(refusal.bytes()).unwrap();
    assert_eq!((read.class, read.error()), (StunClass::Error, Some((420, ""))));
    assert_eq!(read.find(attribute::UNKNOWN_ATTRIBUTES), Some(&[0, 3][..]));
    let many = StunBuf::unknown_attributes(ID, 0x7000..0x7100);
    let read = StunMessage::decode(many.bytes()).unwrap();
    assert_eq!(read.find(attribute::UNKNOWN_ATTRIBUTES).map(<[u8]>::len), Some(32));
}

#[test]
fn the_text_of_a_refusal_cannot_write_on_the_terminal() {
    let refusal = with(attribute::ERROR_CODE, StunClass::Error, b"\0\0\x04\x01Unauthorised \x1b[31m");
    assert_eq!(StunMessage::decode(&refusal).unwrap().error(), Some((401, "Unauthorised ")));
    for odd in [&[0, 0, 2, 1][..], &[0, 0, 7, 1], &[0, 0, 4, 100], &[0, 0, 4], &[]] {
        let odd = with(attribute::ERROR_CODE, StunClass::Error, odd);
        assert_eq!(StunMessage::decode(&odd).unwrap().error(), None);
    }
}

#[test]
fn a_fingerprint_has_to_be_right_and_the_last() {
    let question = StunBuf::request(ID).with_fingerprint();
    let message = StunMessage::decode(question.bytes()).unwrap();
    assert!(message.has_fingerprint());
    let mut wrong = question.bytes().to_vec();
    wrong[30] ^= 1;
    assert_eq!(StunMessage::decode(&wrong), Err(StunDecodeError::Fingerprint));
    let mut early = question.bytes().to_vec();
    early.extend([0x80, 0x99, 0, 0]);
    early[3] += 4;
    assert_eq!(StunMessage::decode(&early), Err(StunDecodeError::Fingerprint));
}

#[test]
fn an_attribute_that_does_not_fit_is_noticed() {
    let mut message = with(attribute::SOFTWARE, StunClass::Request, b"12345678");
    message[23] = 9;
    assert_eq!(StunMessage::decode(&message), Err(StunDecodeError::Truncated));
    message[23] = 4;
    message[31] = 0;
    // The next one begins with "5678".
    assert_eq!(StunMessage::decode(&message), Err(StunDecodeError::Truncated));
}

#[test]
fn every_type_is_read_as_it_is_written() {
    let classes = [StunClass::Request, StunClass::Indication, StunClass::Success, StunClass::Error];
    for class in classes {
        for method in 0..0x1000 {
            assert_eq!(class_and_method(message_type(class, method)), (class, method));
        }
    }
}

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
    ]
}

proptest! {
    #[test]
    fn an_address_survives_the_way(addr in any_addr(), id in any::<[u8; 12]>(), fingerprint in any::<bool>()) {
        let mut answer = StunBuf::success(StunId(id), addr);
        if fingerprint {
            answer = answer.with_fingerprint();
        }
        let message = StunMessage::decode(answer.bytes()).unwrap();
        prop_assert_eq!((message.id, message.mapped_address()), (StunId(id), Some(addr)));
        prop_assert_eq!(message.has_fingerprint(), fingerprint);
    }

    #[test]
    fn whatever_arrives_is_read_or_refused(mut datagram in prop::collection::vec(any::<u8>(), 0..200), shape in any::<bool>()) {
        if shape && datagram.len() >= 20 {
            let len = datagram.len() / 4 * 4;
            datagram.truncate(len);
            datagram[0] &= 3;
            datagram[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
            datagram[4..8].copy_from_slice(&COOKIE.to_be_bytes());
        }
        if let Ok(message) = StunMessage::decode(&datagram) {
            prop_assert!(message.error().is_none_or(|(code, _)| (300..700).contains(&code)));
            prop_assert!(message.unknown().count() <= datagram.len() / 4);
            let shown = format!("{message:?}");
            prop_assert!(!shown.is_empty());
        }
    }
}
