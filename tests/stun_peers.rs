//! STUN messages of this crate read by another one, and the other way round.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;

use ebbtide::wire::{StunBuf, StunClass, StunDecodeError, StunId, StunMessage};
use proptest::prelude::*;
use stun_types::attribute::{ErrorCode, Fingerprint, Software, UnknownAttributes, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageWriteVec, TransactionId};
use stun_types::prelude::*;

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
    ]
}

/// The number as the other crate knows it.
fn theirs(id: StunId) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[4..].copy_from_slice(&id.0);
    u128::from_be_bytes(bytes).into()
}

proptest! {
    #[test]
    fn our_answers_are_read_by_others(addr in any_addr(), id in any::<[u8; 12]>(), signed in any::<bool>()) {
        let mut answer = StunBuf::success(StunId(id), addr);
        if signed {
            answer = answer.with_fingerprint();
        }
        // The other crate checks the fingerprint.
        let message = Message::from_bytes(answer.bytes()).unwrap();
        prop_assert!(message.has_class(MessageClass::Success) && message.has_method(BINDING));
        prop_assert_eq!(message.transaction_id(), theirs(StunId(id)));
        let mapped = message.attribute::<XorMappedAddress>().unwrap();
        prop_assert_eq!(mapped.addr(message.transaction_id()), addr);
        prop_assert_eq!(message.attribute::<Fingerprint>().is_ok(), signed);
    }

    #[test]
    fn answers_of_others_are_read_by_us(addr in any_addr(), id in any::<[u8; 12]>(), signed in any::<bool>()) {
        let question = StunBuf::request(StunId(id));
        let question = Message::from_bytes(question.bytes()).unwrap();
        let mut answer = Message::builder_success(&question, MessageWriteVec::new());
        answer.add_attribute(&XorMappedAddress::new(addr, question.transaction_id())).unwrap();
        answer.add_attribute(&Software::new("another one").unwrap()).unwrap();
        if signed {
            answer.add_fingerprint().unwrap();
        }
        let mut answer = answer.finish();
        let message = StunMessage::decode(&answer).unwrap();
        prop_assert_eq!((message.class, message.id), (StunClass::Success, StunId(id)));
        prop_assert_eq!((message.mapped_address(), message.unknown().count()), (Some(addr), 0));
        prop_assert_eq!(message.has_fingerprint(), signed);
        if signed {
            answer[24] ^= 1;
            prop_assert_eq!(StunMessage::decode(&answer), Err(StunDecodeError::Fingerprint));
        }
    }

    #[test]
    fn what_both_read_both_read_alike(
        mut bytes in prop::collection::vec(any::<u8>(), 20..80),
        kinds in prop::collection::vec(prop::sample::select(vec![0x0001u16, 0x0020, 0x8022, 0x0009, 0x7777]), 8),
    ) {
        // The shape of STUN, with attributes of four to twelve bytes.
        bytes.truncate(bytes.len() / 4 * 4);
        bytes[..2].copy_from_slice(&[1, 1]);
        let len = u16::try_from(bytes.len() - 20).unwrap();
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        let mut at = 20;
        for kind in kinds {
            if at + 4 > bytes.len() {
                break;
            }
            let len = (bytes[at] % 13).min(u8::try_from(bytes.len() - at - 4).unwrap());
            bytes[at..at + 2].copy_from_slice(&kind.to_be_bytes());
            bytes[at + 2..at + 4].copy_from_slice(&u16::from(len).to_be_bytes());
            at += 4 + usize::from(len).next_multiple_of(4);
        }
        if let (Ok(ours), Ok(other)) = (StunMessage::decode(&bytes), Message::from_bytes(&bytes)) {
            prop_assert_eq!(theirs(ours.id), other.transaction_id());
            if let Ok(mapped) = other.attribute::<XorMappedAddress>() {
                prop_assert_eq!(ours.mapped_address(), Some(mapped.addr(other.transaction_id())));
            }
        }
    }
}

#[test]
fn our_questions_and_refusals_are_read_by_others() {
    let id = StunId([5; 12]);
    let question = StunBuf::request(id).with_fingerprint();
    let message = Message::from_bytes(question.bytes()).unwrap();
    assert!(message.has_class(MessageClass::Request) && message.has_method(BINDING));
    assert!(message.attribute::<Software>().unwrap().software().starts_with("ebbtide"));
    let refusal = StunBuf::unknown_attributes(id, [3, 0x27].into_iter());
    let message = Message::from_bytes(refusal.bytes()).unwrap();
    assert!(message.has_class(MessageClass::Error));
    assert_eq!(message.attribute::<ErrorCode>().unwrap().code(), 420);
    let unknown = message.attribute::<UnknownAttributes>().unwrap();
    assert!(unknown.has_attribute(3.into()) && unknown.has_attribute(0x27.into()));
}

#[test]
fn refusals_of_others_are_read_by_us() {
    let question = StunBuf::request(StunId([5; 12]));
    let question = Message::from_bytes(question.bytes()).unwrap();
    let refusal = Message::unknown_attributes(&question, &[3.into()], MessageWriteVec::new()).finish();
    let message = StunMessage::decode(&refusal).unwrap();
    assert_eq!(message.error().map(|(code, _)| code), Some(420));
    let refusal = Message::bad_request(&question, MessageWriteVec::new()).finish();
    assert_eq!(StunMessage::decode(&refusal).unwrap().error().map(|(code, _)| code), Some(400));
}
