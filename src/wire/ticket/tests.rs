//! Tickets there and back, and what is none.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::wire::nat::tests::any_class;
use crate::wire::{CandidateKind, Mapping};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn usual() -> Ticket {
    let candidates = [
        Candidate::new(CandidateKind::Reflexive, addr("192.0.2.7:40000")),
        Candidate::new(CandidateKind::Host, addr("10.0.0.2:40000")),
    ];
    let class = NatClass::new(Mapping::EndpointIndependent);
    Ticket::new(Session::new([0xA5; 16]), Token::new(7), class, &candidates).unwrap()
}

/// The word for any bytes, ticket or not.
fn word_of(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |five: &[u8]| (0..5).fold(0, |sum, at| sum << 1 | u32::from(*five.get(at).unwrap_or(&0)));
    bits.chunks(5).map(|five| letter(value(five))).collect()
}

#[test]
fn a_ticket_is_one_word() {
    let word = usual().to_string();
    assert_eq!(word.len(), 68, "{word}");
    assert!(word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{word}");
    assert_eq!(word.parse::<Ticket>().unwrap(), usual());
    assert_eq!(format!("  {}\n", word.to_uppercase()).parse::<Ticket>().unwrap(), usual());
}

#[test]
fn eight_candidates_of_ipv4_or_five_of_ipv6_fit_and_more_are_refused() {
    let class = NatClass::new(Mapping::EndpointDependent { step: 1, block: 64 });
    let ticket =
        |candidates: &[Candidate]| Ticket::new(Session::default(), Token::default(), class, candidates);
    let four = Candidate::new(CandidateKind::Host, addr("192.0.2.7:40000"));
    let six = Candidate::new(CandidateKind::Host, addr("[2001:db8::7]:40000"));
    assert!(ticket(&[four; 8]).is_ok());
    assert_eq!(ticket(&[four; 9]), Err(TicketError::TooManyCandidates));
    let longest = ticket(&[six; 5]).unwrap();
    assert!(longest.to_bytes().len() <= Ticket::LEN_MAX);
    assert!(longest.to_string().len() <= Ticket::TEXT_LEN_MAX);
    assert_eq!(ticket(&[six; 6]), Err(TicketError::TooLong));
}

#[test]
fn a_candidate_where_nobody_can_be_is_neither_written_nor_read() {
    let nobody = Candidate::new(CandidateKind::Host, addr("224.0.0.1:9"));
    let refused = TicketError::Candidate(CandidateError::Address(nobody.addr));
    let written = Ticket::new(Session::default(), Token::default(), NatClass::default(), &[nobody]);
    assert_eq!(written, Err(refused));
}

#[test]
fn what_is_no_ticket_is_refused_with_the_reason() {
    let bytes = usual().to_bytes();
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = bytes[..bytes.len() - 2].to_vec();
        change(&mut body);
        let sum = check_sum(&body);
        body.extend_from_slice(&sum.to_be_bytes());
        Ticket::from_bytes(&body).unwrap_err()
    };
    assert_eq!(resealed(&|body| body[0] = 2), TicketError::Version(2));
    assert_eq!(resealed(&|body| body.truncate(20)), TicketError::Truncated);
    assert_eq!(resealed(&|body| body.push(0x80)), TicketError::Candidate(CandidateError::Kind(0x80)));
    assert_eq!(resealed(&|body| body.push(0)), TicketError::Candidate(CandidateError::Truncated));
    assert_eq!(resealed(&|body| body.extend([0; 128])), TicketError::TooLong);
    assert_eq!("".parse::<Ticket>(), Err(TicketError::Truncated));
    assert_eq!("a b".parse::<Ticket>(), Err(TicketError::Character(' ')));
    assert_eq!("8".parse::<Ticket>(), Err(TicketError::Character('8')));
    assert_eq!("é".repeat(102).parse::<Ticket>(), Err(TicketError::Character('é')));
    assert_eq!("a".repeat(206).parse::<Ticket>(), Err(TicketError::TooLong));
    let word = usual().to_string();
    assert!(word[..60].parse::<Ticket>().is_err());
    assert_eq!(format!("{word}a").parse::<Ticket>(), Err(TicketError::CheckSum));
}

#[test]
fn the_check_sum_is_a_known_one() {
    assert_eq!(check_sum(b"123456789"), 0xD64E);
}

#[test]
fn one_mistyped_letter_is_always_found() {
    let word = usual().to_string();
    for at in 0..word.len() {
        for &other in ALPHABET {
            let mut typed = word.clone().into_bytes();
            typed[at] = other;
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(typed.parse::<Ticket>().is_ok(), typed == word, "{typed}");
        }
    }
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let four = (0x0100_0000u32..0xE000_0000).prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits)));
    let six = (1u128 << 120..0xFF << 120).prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits)));
    let kinds =
        [CandidateKind::Host, CandidateKind::Reflexive, CandidateKind::PeerReflexive, CandidateKind::Mapped];
    (prop::sample::select(kinds.to_vec()), prop_oneof![four, six], 1..=u16::MAX)
        .prop_map(|(kind, ip, port)| Candidate::new(kind, SocketAddr::new(ip, port)))
}

proptest! {
    #[test]
    fn a_ticket_survives_the_way(
        session: [u8; 16],
        token: u64,
        class in any_class(),
        candidates in prop::collection::vec(any_candidate(), 0..=5),
    ) {
        let ticket = Ticket::new(Session::new(session), Token::new(token), class, &candidates).unwrap();
        let bytes = ticket.to_bytes();
        prop_assert!(bytes.len() <= Ticket::LEN_MAX);
        prop_assert_eq!(&Ticket::from_bytes(&bytes).unwrap(), &ticket);
        let word = ticket.to_string();
        prop_assert_eq!(&word, &word_of(&bytes));
        prop_assert_eq!(word.parse::<Ticket>().unwrap(), ticket);
    }

    #[test]
    fn rubbish_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text: String) {
        if let Ok(ticket) = Ticket::from_bytes(&bytes) {
            prop_assert_eq!(ticket.to_bytes().len(), bytes.len());
        }
        prop_assert!(word_of(&bytes).parse::<Ticket>().is_err() == Ticket::from_bytes(&bytes).is_err());
        prop_assert!(text.parse::<Ticket>().is_err());
    }

    #[test]
    fn what_is_well_sealed_is_read_without_a_panic_and_never_longer(mut body in prop::collection::vec(any::<u8>(), 0..140)) {
        if let Some(first) = body.first_mut() {
            *first = VERSION;
        }
        let sum = check_sum(&body);
        body.extend_from_slice(&sum.to_be_bytes());
        if let Ok(ticket) = Ticket::from_bytes(&body) {
            prop_assert!(ticket.to_bytes().len() <= body.len() && ticket.candidates().len() <= CANDIDATES_MAX);
        }
    }
}
