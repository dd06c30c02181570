"""A BitTorrent peer by libtorrent that speaks uTP only, for the interoperability tests.

    libtorrent_peer.py make  DIR BYTES             writes DIR/content.bin (the test pattern) and DIR/content.torrent
    libtorrent_peer.py seed  DIR [--connect PORT]  offers DIR/content.bin
    libtorrent_peer.py leech DIR [--connect PORT]  downloads into DIR/content.bin

    --connect PORT  connect to 127.0.0.1:PORT; without it, wait for the other side on an ephemeral port
    --limit S       give up after so many seconds (default 120)

TCP, encryption, DHT and everything else that talks to strangers is off; only 127.0.0.1 is used.
Prints JSON lines: {"event": "listening", "port": P}, {"event": "connected"}, and at the end
{"event": "done", "sent": N, "received": N, "sha256": "..."} or {"event": "failed", "error": "..."} with exit code 1.
A seed is done when the other side has left, a leech when it has everything.
"""

import argparse
import hashlib
import json
import os
import sys
import time

PEERS = os.environ.get("EBBTIDE_PEERS") or os.path.join(os.path.dirname(__file__), "../../../target/peers")
sys.path.insert(0, os.path.join(PEERS, "python"))

import libtorrent as lt  # noqa: E402

PIECE_BYTES = 256 * 1024
KERNEL_BUFFER = 4 * 1024 * 1024
# libtorrent sends its SYN once, and gives up on it after 3 s.
RECONNECT_SECONDS = 5
# libtorrent sends each packet three times at most, two times once it is leaving, and then gives up without a word.
# Where one in a hundred is lost, that ends one in ten or twenty transfers of 64 MiB.
TRANSMISSIONS = 10
# Packets are repeated only while the process lives; whoever started it ends it earlier.
LINGER_SECONDS = 20

# What we wait for and nothing else: when the queue is full, libtorrent drops alerts, and each block is worth several.
CATEGORIES = lt.alert.category_t
ALERTS = (
    CATEGORIES.error_notification
    | CATEGORIES.status_notification
    | CATEGORIES.peer_notification
    | CATEGORIES.connect_notification
    | CATEGORIES.storage_notification
)
ALERTS_WAITING = 100_000
LOG = bool(os.environ.get("EBBTIDE_PEER_LOG"))
LOGS = CATEGORIES.all_categories & ~(CATEGORIES.port_mapping_log_notification | CATEGORIES.dht_log_notification)

STATES = lt.torrent_status.states
READY = [STATES.downloading, STATES.finished, STATES.seeding]


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def pattern(length):
    """b[i] = (31 i + 17 (i >> 8) + 7 (i >> 16)) mod 256, in blocks of 256 bytes."""
    blocks = [bytes((31 * i + offset) & 255 for i in range(256)) for offset in range(256)]
    for high in range((length + 255) // 256):
        offset = (31 * (high << 8) + 17 * high + 7 * (high >> 8)) & 255
        yield blocks[offset][: length - high * 256]


def make(folder, length):
    content = os.path.join(folder, "content.bin")
    with open(content, "wb") as out:
        out.writelines(pattern(length))
    torrent = lt.create_torrent(lt.list_files(content), PIECE_BYTES, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, folder)
    with open(os.path.join(folder, "content.torrent"), "wb") as out:
        out.write(lt.bencode(torrent.generate()))
    say("done", sent=0, received=0, sha256=sha256(content))


def sha256(path):
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def session():
    return lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_incoming_tcp": False,
            "enable_outgoing_tcp": False,
            "enable_incoming_utp": True,
            "enable_outgoing_utp": True,
            "in_enc_policy": int(lt.enc_policy.disabled),
            "out_enc_policy": int(lt.enc_policy.disabled),
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_ip_notifier": False,
            "allow_multiple_connections_per_ip": True,
            "recv_socket_buffer_size": KERNEL_BUFFER,
            "send_socket_buffer_size": KERNEL_BUFFER,
            "utp_num_resends": TRANSMISSIONS,
            "utp_fin_resends": TRANSMISSIONS,
            "alert_mask": ALERTS | LOGS if LOG else ALERTS,
            "alert_queue_size": ALERTS_WAITING,
        }
    )


class Exchange:
    """One torrent in one session, until it is done."""

    def __init__(self, args):
        self.role, self.folder, self.connect = args.role, args.folder, args.connect
        self.session = session()
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(os.path.join(self.folder, "content.torrent"))
        params.save_path = self.folder
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        if self.role == "seed":
            params.flags |= lt.torrent_flags.seed_mode
        self.torrent = self.session.add_torrent(params)
        self.port = 0
        self.connected = self.left = self.flushed = False
        self.attempted = 0.0

    def watch(self):
        self.session.wait_for_alert(100)
        for alert in self.session.pop_alerts():
            if LOG:
                print(alert, file=sys.stderr)
            if isinstance(alert, lt.listen_succeeded_alert) and alert.socket_type == lt.socket_type_t.udp:
                self.port = alert.port
            elif isinstance(alert, (lt.peer_connect_alert, lt.incoming_connection_alert)) and not self.connected:
                self.connected = True
                say("connected")
            elif isinstance(alert, lt.peer_disconnected_alert):
                self.left = True
            elif isinstance(alert, lt.cache_flushed_alert):
                self.flushed = True
        status = self.torrent.status()
        # A torrent that is still being checked refuses every peer.
        if self.port and status.state in READY:
            say("listening", port=self.port)
            self.port = 0
        return status

    def run(self, limit):
        until = time.monotonic() + limit
        while time.monotonic() < until:
            status = self.watch()
            if self.role == "leech" and status.is_seeding:
                return self.done(status)
            if self.role == "seed" and self.left and status.total_payload_upload >= status.total_wanted:
                return self.done(status)
            if self.connect and status.num_peers == 0 and time.monotonic() - self.attempted > RECONNECT_SECONDS:
                self.attempted = time.monotonic()
                self.torrent.connect_peer(("127.0.0.1", self.connect))
        say("failed", error=f"time limit; {status.progress:.0%} of the torrent, {status.num_peers} peers")
        return 1

    def done(self, status):
        self.torrent.flush_cache()
        self.session.pause()
        closing = time.monotonic() + 5
        while not (self.left and self.flushed) and time.monotonic() < closing:
            self.watch()
        say(
            "done",
            sent=status.total_payload_upload,
            received=status.total_payload_download,
            sha256=sha256(os.path.join(self.folder, "content.bin")),
        )
        time.sleep(LINGER_SECONDS)
        return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["make", "seed", "leech"])
    parser.add_argument("folder")
    parser.add_argument("bytes", type=int, nargs="?")
    parser.add_argument("--connect", type=int)
    parser.add_argument("--limit", type=float, default=120)
    args = parser.parse_args()
    if args.role == "make":
        make(args.folder, args.bytes)
        return 0
    return Exchange(args).run(args.limit)


if __name__ == "__main__":
    sys.exit(main())
