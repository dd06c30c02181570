//! What to answer to somebody else's question. Whether there is room for it is decided elsewhere.

use std::net::SocketAddr;

use crate::wire::{StunBuf, StunClass, StunMessage};

/// RFC 8489 §14.7: bytes of a fingerprint.
const FINGERPRINT_LEN: usize = 8;

/// The answer to a message of `len` bytes from this address, if it is a question about Binding.
///
/// It is longer than the question if that is not [filled up](StunBuf::request), or names what is not understood.
pub(in crate::proto) fn reply(message: &StunMessage<'_>, len: usize, from: SocketAddr) -> Option<StunBuf> {
    if message.class != StunClass::Request || !message.is_binding() {
        return None;
    }
    let reply = match message.unknown().next() {
        Some(_) => StunBuf::unknown_attributes(message.id, message.unknown()),
        None => StunBuf::success(message.id, from),
    };
    let signed = message.has_fingerprint() && reply.bytes().len() + FINGERPRINT_LEN <= len;
    Some(if signed { reply.with_fingerprint() } else { reply })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::wire::StunId;

    const ID: StunId = StunId([7; 12]);

    fn answer(question: &StunBuf, from: &str) -> Option<StunBuf> {
        let message = StunMessage::decode(question.bytes()).unwrap();
        reply(&message, question.bytes().len(), from.parse().unwrap())
    }

    #[test]
    fn a_question_that_is_filled_up_gets_no_more_than_it_brought() {
        for from in ["192.0.2.1:9", "[2001:db8::1]:9"] {
            for question in [StunBuf::request(ID), StunBuf::request(ID).with_fingerprint()] {
                let reply = answer(&question, from).unwrap();
                assert!(reply.bytes().len() <= question.bytes().len());
                let message = StunMessage::decode(reply.bytes()).unwrap();
                assert_eq!(message.mapped_address(), Some(from.parse().unwrap()));
                assert_eq!(message.has_fingerprint(), question.bytes().len() == 52);
            }
        }
    }

    #[test]
    fn only_questions_about_binding_are_answered() {
        assert_eq!(answer(&StunBuf::success(ID, "192.0.2.1:9".parse().unwrap()), "192.0.2.1:9"), None);
        let mut other = StunBuf::request(ID).bytes().to_vec();
        other[1] = 3;
        let message = StunMessage::decode(&other).unwrap();
        assert_eq!(reply(&message, other.len(), "192.0.2.1:9".parse().unwrap()), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let mut question = StunBuf::request(ID).bytes().to_vec();
        // CHANGE-REQUEST instead of SOFTWARE: an answer from another address is not to be had here.
        question[20..22].copy_from_slice(&[0, 3]);
        let message = StunMessage::decode(&question).unwrap();
        let refusal = reply(&message, question.len(), "192.0.2.1:9".parse().unwrap()).unwrap();
        let refusal = StunMessage::decode(refusal.bytes()).unwrap();
        assert_eq!(refusal.error().map(|(code, _)| code), Some(420));
    }
}
