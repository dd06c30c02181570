//! What kind of NAT is in front of us: ask several servers from one socket, and compare where they see it.
//!
//! ```text
//!   all see the address that the socket has        no NAT
//!   all see the same                               the mapping does not depend on the destination
//!   they see different ones                        it does; by which steps, and within what block
//!   only one answers                               nobody can tell
//! ```
//!
//! The first server is asked on the port that was named and on the one above it: a NAT that gives every destination
//! a port of its own mostly does so for every port of the same destination too. Knows neither sockets nor transactions.

use std::net::SocketAddr;
use std::time::Duration;

use super::StunError;
use crate::proto::punch::NatReport;
use crate::time::Instant;
use crate::wire::Mapping;

/// Ours: servers that are asked. Three reflections tell a pattern, and two servers have two ports each.
pub const SERVERS_MAX: usize = 4;

/// Ours: how long to wait for further answers once there are two of each family that answers at all: servers with one
/// port only are common. At least this, and twice as long as the slowest answer took.
const PATIENCE: Duration = Duration::from_millis(200);

/// Ours: most that two neighbouring ports of a NAT that counts are apart. Others use it too, so it skips some.
const STEP_MAX: i32 = 64;

/// Ours: most ports that a block has. Carriers give each customer 512 to 2,048.
const BLOCK_MAX: u16 = 2048;

/// The questions, and what was answered.
#[derive(Clone, Debug)]
pub struct Survey {
    begun: Instant,
    /// In the order in which they are asked, which is the one in which a NAT gives away ports.
    questions: Vec<Question>,
    /// When the last answer came.
    heard: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    server: SocketAddr,
    answer: Option<Result<SocketAddr, StunError>>,
}

impl Survey {
    /// A survey by these servers; the first [`SERVERS_MAX`] count. Each is asked on two ports.
    #[must_use]
    pub fn new(now: Instant, servers: &[SocketAddr]) -> Self {
        let mut questions: Vec<Question> = Vec::new();
        for server in servers.iter().take(SERVERS_MAX) {
            let server = SocketAddr::new(server.ip().to_canonical(), server.port());
            let above = server.port().checked_add(1).map(|port| SocketAddr::new(server.ip(), port));
            for server in [Some(server), above].into_iter().flatten() {
                if questions.iter().all(|question| question.server != server) {
                    questions.push(Question { server, answer: None });
                }
            }
        }
        Self { begun: now, questions, heard: now }
    }

    /// Whom to ask, in that order, at once and from the same socket.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        self.questions.iter().map(|question| question.server)
    }

    /// What has become of the question with this number.
    pub fn answered(&mut self, now: Instant, number: usize, answer: Result<SocketAddr, StunError>) {
        if let Some(question) = self.questions.get_mut(number) {
            question.answer = Some(answer);
            if answer.is_ok() {
                self.heard = now;
            }
        }
    }

    /// Until when to wait for further answers; `None` as long as one more may change everything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.questions.iter().all(|question| question.answer.is_some()) {
            return Some(self.begun);
        }
        let counts = [true, false].map(|v4| self.answers(v4).count());
        let enough = counts.iter().any(|&count| count > 0) && counts.iter().all(|&count| count != 1);
        enough.then(|| self.heard + PATIENCE.max(2 * self.heard.since(self.begun)))
    }

    /// What the answers so far tell. `locals` are the addresses that the socket has itself.
    #[must_use]
    pub fn report(&self, locals: &[SocketAddr]) -> NatReport {
        let mut report = NatReport::default();
        let [four, six] = [true, false].map(|v4| self.answers(v4).collect::<Vec<_>>());
        for addr in four.iter().chain(&six) {
            match addr {
                SocketAddr::V4(addr) => _ = report.public_v4.get_or_insert(*addr),
                SocketAddr::V6(addr) => _ = report.public_v6.get_or_insert(*addr),
            }
        }
        let both = [mapping(&four, locals), mapping(&six, locals)];
        report.mapping = if four.is_empty() { both[1] } else { both[0] };
        report.mapping_v6 = both[1];
        let shown = if four.is_empty() { &six } else { &four };
        shown.iter().for_each(|addr| report.saw_port(addr.port()));
        let timed_out = |question: &Question| question.answer == Some(Err(StunError::Timeout));
        report.blocked = four.is_empty() && six.is_empty() && self.questions.iter().any(timed_out);
        report
    }

    /// Why nobody has answered, if nobody has: the reason of the first who should have.
    #[must_use]
    pub fn failure(&self) -> Option<StunError> {
        let answers = || self.questions.iter().filter_map(|question| question.answer);
        if answers().any(|answer| answer.is_ok()) {
            return None;
        }
        answers().find_map(Result::err)
    }

    fn answers(&self, v4: bool) -> impl Iterator<Item = SocketAddr> {
        let answers = self.questions.iter().filter_map(|question| question.answer?.ok());
        answers.filter(move |answer| answer.is_ipv4() == v4)
    }
}

/// What is in front of a socket that was seen at these addresses, in the order in which it spoke.
fn mapping(seen: &[SocketAddr], locals: &[SocketAddr]) -> Mapping {
    let [first, rest @ ..] = seen else { return Mapping::Unknown };
    if rest.iter().all(|other| other == first) {
        return match rest {
            _ if locals.contains(first) => Mapping::None,
            [] => Mapping::Unknown,
            _ => Mapping::EndpointIndependent,
        };
    }
    if rest.iter().any(|other| other.ip() != first.ip()) {
        return Mapping::EndpointDependent { step: 0, block: 0 };
    }
    let ports: Vec<i32> = seen.iter().map(|addr| addr.port().into()).collect();
    Mapping::EndpointDependent { step: step(&ports), block: block(&ports) }
}

/// By how much a NAT counts on from one to the next, perhaps giving some of them to others; 0 if it does not count.
fn step(ports: &[i32]) -> i16 {
    // Destinations that share a port were one to the NAT.
    let steps = ports.windows(2).map(|pair| pair[1] - pair[0]).filter(|&step| step != 0);
    let counts = |step: i32| step.abs() <= STEP_MAX;
    let up = steps.clone().all(|step| step > 0 && counts(step));
    let down = steps.clone().all(|step| step < 0 && counts(step));
    if !up && !down {
        return 0;
    }
    let common = steps.fold(0, |common, step| greatest_divisor(common, step.abs()));
    i16::try_from(if down { -common } else { common }).unwrap_or(0)
}

fn greatest_divisor(mut a: i32, mut b: i32) -> i32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How many ports the block has, at least, in which all of these lie; 0 if they are scattered.
fn block(ports: &[i32]) -> u16 {
    let (Some(low), Some(high)) = (ports.iter().min(), ports.iter().max()) else { return 0 };
    match u16::try_from(high - low + 1) {
        Ok(span) if span <= BLOCK_MAX => span.next_power_of_two(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const MS: fn(u64) -> Instant = |ms| Instant::from_micros(ms * 1000);

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn surveyed(servers: &[&str], answers: &[&str], locals: &[&str]) -> NatReport {
        let mut survey = Survey::new(MS(0), &addrs(servers));
        for (number, answer) in answers.iter().enumerate() {
            let answer =
                if answer.is_empty() { Err(StunError::Timeout) } else { Ok(answer.parse().unwrap()) };
            survey.answered(MS(20), number, answer);
        }
        survey.report(&addrs(locals))
    }

    fn kind(answers: &[&str]) -> Mapping {
        surveyed(&["192.0.2.1:9", "192.0.2.2:9"], answers, &["10.0.0.1:5000"]).mapping
    }

    const fn dependent(step: i16, block: u16) -> Mapping {
        Mapping::EndpointDependent { step, block }
    }

    #[test]
    fn each_server_is_asked_on_two_ports_and_nobody_twice() {
        let survey = Survey::new(MS(0), &addrs(&["192.0.2.1:9", "[::ffff:192.0.2.1]:10", "192.0.2.2:65535"]));
        let servers: Vec<_> = survey.servers().collect();
        assert_eq!(servers, addrs(&["192.0.2.1:9", "192.0.2.1:10", "192.0.2.1:11", "192.0.2.2:65535"]));
        let many = vec!["192.0.2.1:9".parse().unwrap(); 100];
        assert_eq!(Survey::new(MS(0), &many).servers().count(), 2);
    }

    #[test]
    fn the_kind_of_nat_follows_from_what_servers_see() {
        let local = &["198.51.100.1:5000"];
        let open = surveyed(&["192.0.2.1:9"], &["198.51.100.1:5000", "198.51.100.1:5000"], local);
        assert_eq!(open.mapping, Mapping::None);
        let same = "203.0.113.1:7000";
        assert_eq!(kind(&[same, same, same]), Mapping::EndpointIndependent);
        assert_eq!(kind(&[same, "", same]), Mapping::EndpointIndependent);
        assert_eq!(kind(&[same, ""]), Mapping::Unknown, "one opinion is none");
        assert_eq!(kind(&[same, "203.0.113.1:30000"]), dependent(0, 0));
        assert_eq!(kind(&[same, same, "203.0.113.1:30000"]), dependent(0, 0), "by address only");
        assert_eq!(kind(&[same, "203.0.113.2:7000"]), dependent(0, 0), "a pool of addresses");
    }

    #[test]
    fn a_nat_that_counts_and_one_that_gives_blocks_are_recognised() {
        let ports = |ports: &[u16]| {
            let seen: Vec<String> = ports.iter().map(|port| format!("203.0.113.1:{port}")).collect();
            kind(&seen.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(ports(&[7000, 7001, 7002]), dependent(1, 4));
        assert_eq!(ports(&[7000, 7002, 7006, 7008]), dependent(2, 16));
        assert_eq!(ports(&[7000, 7001, 7004]), dependent(1, 8), "others use it too");
        assert_eq!(ports(&[7004, 7003]), dependent(-1, 2));
        assert_eq!(ports(&[7000, 7000, 7001]), dependent(1, 2));
        assert_eq!(ports(&[7900, 7100, 7500]), dependent(0, 1024));
        assert_eq!(ports(&[7000, 7001, 60000]), dependent(0, 0));
        assert_eq!(ports(&[65535, 1]), dependent(0, 0));
    }

    #[test]
    fn families_are_told_apart() {
        let report = surveyed(
            &["192.0.2.1:9", "[2001:db8::1]:9"],
            &["203.0.113.1:7000", "203.0.113.1:7001", "[2001:db8::7]:5000", "[2001:db8::7]:5000"],
            &["[2001:db8::7]:5000"],
        );
        assert_eq!((report.mapping, report.mapping_v6), (dependent(1, 2), Mapping::None));
        assert_eq!(report.public_v4, Some("203.0.113.1:7000".parse().unwrap()));
        assert_eq!(report.public_v6, Some("[2001:db8::7]:5000".parse().unwrap()));
        assert_eq!(report.ports_seen, [7000, 7001]);
        let six = surveyed(&["[2001:db8::1]:9"], &["[2001:db8::7]:5000"], &["[2001:db8::7]:5000"]);
        assert_eq!((six.mapping, six.public_v4), (Mapping::None, None));
    }

    #[test]
    fn silence_means_that_udp_is_blocked_and_a_refusal_does_not() {
        assert!(surveyed(&["192.0.2.1:9"], &["", ""], &[]).blocked);
        let mut survey = Survey::new(MS(0), &addrs(&["192.0.2.1:65535"]));
        assert_eq!((survey.deadline(), survey.failure()), (None, None));
        survey.answered(MS(9), 0, Err(StunError::Refused(420)));
        assert_eq!(survey.failure(), Some(StunError::Refused(420)));
        assert!(!survey.report(&[]).blocked);
        assert_eq!(survey.deadline(), Some(MS(0)));
    }

    #[test]
    fn nobody_waits_for_ports_that_are_not_served_once_two_have_answered() {
        let mut survey = Survey::new(MS(0), &addrs(&["192.0.2.1:9", "192.0.2.2:9"]));
        let seen = Ok("203.0.113.1:7000".parse().unwrap());
        survey.answered(MS(20), 0, seen);
        assert_eq!(survey.deadline(), None);
        survey.answered(MS(30), 2, seen);
        assert_eq!(survey.deadline(), Some(MS(230)));
        survey.answered(MS(400), 1, seen);
        assert_eq!(survey.deadline(), Some(MS(1200)));
        survey.answered(MS(401), 3, seen);
        assert_eq!(survey.deadline(), Some(MS(0)));
    }
}
