//! Settings out of a script: small ones that are always valid, and wild ones that may not be.

use std::sync::Arc;
use std::time::Duration;

use ebbtide::proto::congestion::FixedWindow;
use ebbtide::{Config, Congestion, Dialect};

use super::script::Script;

/// Settings, and what of them a test has to know.
pub(crate) struct Small {
    pub(crate) config: Config,
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer_max: usize,
    pub(crate) packets_in_flight: u16,
}

/// Valid settings with little room, so that a short script reaches every limit.
pub(crate) fn small(script: &mut Script<'_>) -> Small {
    let buffers = [4 << 10, 16 << 10, 64 << 10, 256 << 10];
    let (send_buffer, receive) = (script.pick(&buffers), script.pick(&buffers));
    let flags = script.byte();
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let receive_buffer_max = if flag(0) { receive } else { 1 << 20 };
    let packets_in_flight = if flag(6) { 4 } else { 950 };
    let config = Config::default()
        .send_buffer(send_buffer)
        .receive_buffer(receive)
        .receive_buffer_max(receive_buffer_max)
        .nodelay(flag(1))
        .pacing(flag(2))
        .keepalive(flag(3).then_some(Duration::from_secs(15)))
        .idle_timeout(flag(4).then_some(Duration::from_secs(120)))
        .ack_delay(Duration::from_millis(if flag(5) { 0 } else { 5 }))
        .packets_in_flight(packets_in_flight);
    let config = if flag(7) { config.congestion(Congestion::Fixed(1 << 20)) } else { config };
    let shape = script.byte();
    let config = config.mtu([1400, 576, 150, 9000][usize::from(shape & 3)]).hardened_reset(shape & 4 != 0);
    Small { config, send_buffer, receive_buffer_max, packets_in_flight }
}

/// Anything at all: about one field in eight near or beyond the ends of its range.
pub(crate) fn wild(script: &mut Script<'_>) -> Config {
    let micros = Duration::from_micros;
    let mut config = Config::default()
        .max_connections(size(script, 4096, 1, 1_000_000))
        .half_open(size(script, 32, 1, 65_536))
        .accept_queue(size(script, 128, 1, 65_536))
        .send_buffer(size(script, 65_536, 4096, 256 << 20))
        .receive_buffer(size(script, 65_536, 4096, 256 << 20))
        .receive_buffer_max(size(script, 1 << 20, 4096, 256 << 20))
        .packets_in_flight(number(script, 950, 4, 32_000) as u16)
        .nodelay(script.flag())
        .pacing(script.flag())
        .target_delay(micros(number(script, 100_000, 1_000, 100_000)))
        .ack_delay(micros(number(script, 5_000, 0, 200_000)))
        .connect_timeout(micros(number(script, 10_000_000, 100_000, 600_000_000)))
        .rto_min(micros(number(script, 500_000, 10_000, 10_000_000)))
        .timeouts(number(script, 7, 1, 20) as u8)
        .stall_timeout(micros(number(script, 300_000_000, 1_000_000, 86_400_000_000)))
        .linger(micros(number(script, 30_000_000, 0, 600_000_000)))
        .resets_per_second(number(script, 200, 0, 100_000) as u32)
        .foreign_queue(size(script, 256, 0, 65_536))
        .socket_buffer(size(script, 4 << 20, 8192, 256 << 20));
    if script.flag() {
        config = config.mtu(number(script, 1400, 150, 65_000) as u16);
    }
    if script.flag() {
        config = config.keepalive(None);
    } else {
        config = config.keepalive(Some(micros(number(script, 15_000_000, 1_000_000, 3_600_000_000))));
    }
    if script.flag() {
        config = config.idle_timeout(Some(micros(number(script, 60_000_000, 1_000_000, 86_400_000_000))));
    }
    if script.flag() {
        config = config
            .max_memory(size(script, 1 << 30, 1 << 20, 1 << 40))
            .connections_per_address(Some(size(script, 64, 1, 1_000_000)))
            .connections_per_network(Some(size(script, 256, 1, 1_000_000)))
            .hardened_reset(script.flag())
            .verify_acks(script.flag());
    }
    config = config.congestion(congestion(script));
    // From the other end, so that what comes next stays where it was in older inputs.
    if script.last_byte() & 1 == 1 { config.dialect(Dialect::UtpPunch) } else { config }
}

fn congestion(script: &mut Script<'_>) -> Congestion {
    match script.byte() % 4 {
        0 | 1 => Congestion::Ledbat,
        2 => Congestion::Fixed(number(script, 65_536, 1000, 1 << 24) as u32),
        _ => {
            let packets = u32::from(script.byte()) + 1;
            Congestion::Custom(Arc::new(move |payload| Box::new(FixedWindow::new(payload * packets))))
        }
    }
}

fn size(script: &mut Script<'_>, usual: usize, least: usize, most: usize) -> usize {
    number(script, usual as u64, least as u64, most as u64) as usize
}

/// Mostly `usual`; also the ends of the range, what lies next to them, zero, a lot, and anything between.
fn number(script: &mut Script<'_>, usual: u64, least: u64, most: u64) -> u64 {
    match script.byte() {
        0..=159 => usual,
        160..=175 => least,
        176..=191 => most,
        192..=195 => least.wrapping_sub(1),
        196..=199 => most + 1,
        200..=203 => 0,
        204..=207 => u64::from(u32::MAX),
        _ => least + u64::from(script.short()) * (most - least) / 65_535,
    }
}
