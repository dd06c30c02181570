//! What an idle client costs.

use super::super::guest::{Guest, Seat};
use super::super::rooms::{Member, Room};
use super::*;

/// Bytes that belong to one client, all lists included; the tables' own overhead is what the slab's place adds.
fn bytes_of(server: &Server, id: ClientId) -> usize {
    let guest = server.guests.get(id.0).unwrap();
    let lists = guest.seen.capacity() * size_of::<SocketAddr>()
        + guest.seats.capacity() * size_of::<Seat>()
        + guest.annexes.capacity() * size_of::<Key>()
        + guest.outgoing.capacity()
        + guest.decoder.memory();
    size_of::<Guest>() + lists
}

#[test]
fn n11_an_idle_client_takes_half_a_kibibyte_of_the_server() {
    let mut hall = Hall::new();
    let mut all = Vec::new();
    for number in 0..1000u32 {
        let addr = format!("192.0.{}.{}:4000", number / 250, number % 250);
        all.push(hall.member(&addr, &format!("room {number}")).0);
    }
    hall.pass(Duration::from_secs(30), &all);
    let guests = all.iter().map(|who| bytes_of(&hall.server, hall.ids[*who])).max().unwrap();
    // A room with one member: the room, its place in the trees, the member.
    let room = size_of::<Room>() + size_of::<Member>() * 2 + 2 * size_of::<RoomId>();
    eprintln!("n11 bound=1024 bytes per idle client measured={guests} and {room} for its room");
    assert!(guests + room <= 1024, "{guests} + {room}");
}
