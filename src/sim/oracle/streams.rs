//! Oracles over what programs report: the bytes are right, and the end comes after all of them.

use super::super::flow::{FlowId, Side};
use super::super::host::HostId;
use super::super::program::Report;
use super::{Oracle, Verdict, violated};

/// The last reports of the two ends of every connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// By the index of the connection.
    list: Vec<[Report; 2]>,
    /// Hosts between which the network has changed bytes that no checksum protects: what is read there proves nothing
    /// any more.
    void: Vec<[HostId; 2]>,
}

impl Streams {
    /// A program was stepped; `hosts` are its own and the peer's. The peer's last report is never older than what has
    /// arrived from it.
    pub(super) fn stepped(
        &mut self,
        flow: FlowId,
        side: Side,
        hosts: [HostId; 2],
        report: &Report,
    ) -> Verdict {
        let index = flow.index() as usize;
        if index >= self.list.len() {
            self.list.resize(index + 1, [Report::default(); 2]);
        }
        let ends = &mut self.list[index];
        ends[side as usize] = *report;
        let (got, sent) = (report.received, ends[1 - side as usize].sent);
        let wrong = if let Some(at) = report.wrong_at {
            (Oracle::Bytes, format!("byte {at} is not the one written"))
        } else if got > sent {
            (Oracle::Bytes, format!("{got} bytes read, {sent} were written"))
        } else if report.eof && got != sent {
            (Oracle::End, format!("the end after {got} of {sent} bytes"))
        } else {
            return Ok(());
        };
        if self.is_void(hosts) {
            return Ok(());
        }
        violated(wrong.0, format_args!("{flow} {side}: {}", wrong.1))
    }

    pub(super) fn is_void(&self, mut hosts: [HostId; 2]) -> bool {
        hosts.sort();
        // The other end of a stranger's connection is nobody who could be asked what was written.
        hosts[0] == hosts[1] || self.void.contains(&hosts)
    }

    /// From now on nothing can be said about the bytes between these hosts.
    pub(super) fn void(&mut self, mut hosts: [HostId; 2]) {
        if !self.is_void(hosts) {
            hosts.sort();
            self.void.push(hosts);
        }
    }
}
