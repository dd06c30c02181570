#!/usr/bin/env bash
# A little internet of network namespaces, with a NAT in front of each of two hosts:
#
#   hA ── rA ── b1 ── b2 ── b3 ── b4 ── rB ── hB        h: hosts, r: routers of the kind asked for, b: the backbone
#                     └── s (two addresses)             s: where servers run
#
#   unshare --net --mount topology.sh KIND_A KIND_B COMMAND [ARGUMENT...]
#
# runs the command when everything stands; `ip netns exec hA ...` gets into a host from there. Everything goes away
# with the command. Needs root, iproute2 and nftables (and conntrack, to forget flows); touches no network but its own.
#
# Kinds: none (a router that forwards), fw (a stateful firewall, no translation), full, addr, port (one mapping for all
# destinations; filter: none, by address, by address and port), linux (masquerade, drops what is for nobody),
# linuxopen (masquerade, takes what is for nobody), sym (a random port for every destination), blocked (no UDP),
# double (port behind another port).
#
# The four routers of the backbone are there for the hop limit: what leaves a host with 5 hops passes its own routers
# and ends before the others'.
set -euo pipefail
(($# >= 3)) || { sed -n '2,/^set/p' "$0" | grep '^#'; exit 2; }

mount --make-rprivate /
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
ip link set lo up

namespace() {
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.accept_dad=0 \
    net.ipv6.conf.default.accept_dad=0
  # The kernel is sparing with time-exceeded messages; that is not what is under test.
  ip netns exec "$1" sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 2>/dev/null || true
}

# addresses NS IF ADDRESSES
addresses() {
  local address
  for address in ${3//,/ }; do
    # IPv6 would wait a second to see whether somebody else has it.
    case $address in *:*) ip -n "$1" addr add "$address" dev "$2" nodad ;; *) ip -n "$1" addr add "$address" dev "$2" ;; esac
  done
}

# wire NS_A IF_A ADDRESSES_A NS_B IF_B ADDRESSES_B: a cable between two namespaces, addresses separated by commas.
wire() {
  ip link add cable-a type veth peer name cable-b
  ip link set cable-a netns "$1" name "$2"
  ip link set cable-b netns "$4" name "$5"
  addresses "$1" "$2" "$3"
  addresses "$4" "$5" "$6"
  ip -n "$1" link set "$2" up
  ip -n "$4" link set "$5" up
}

# rules NS: nftables rules from standard input.
rules() {
  ip netns exec "$1" nft -f -
}

# --- the backbone and the server ---------------------------------------------------------------------------------

for name in b1 b2 b3 b4 s; do namespace "$name"; done
for left in 1 2 3; do
  right=$((left + 1))
  wire "b$left" east "172.31.$left.1/30,2001:db8:ff0$left::1/64" "b$right" west "172.31.$left.2/30,2001:db8:ff0$left::2/64"
  # What is west of here is reached through the west, and the other way round.
  ip -n "b$right" route add 198.51.100.0/24 via "172.31.$left.1"
  ip -n "b$right" route add 2001:db8:a::/48 via "2001:db8:ff0$left::1"
  ip -n "b$left" route add 203.0.113.0/24 via "172.31.$left.2"
  ip -n "b$left" route add 2001:db8:b::/48 via "2001:db8:ff0$left::2"
done
wire b2 server 192.0.2.1/24,2001:db8:c::1/64 s eth0 192.0.2.10/24,192.0.2.11/24,2001:db8:c::10/64
ip -n s route add default via 192.0.2.1
ip -n s route add default via 2001:db8:c::1
for router in b3 b4; do
  west=$((${router#b} - 1))
  ip -n "$router" route add 192.0.2.0/24 via "172.31.$west.1"
  ip -n "$router" route add 2001:db8:c::/64 via "2001:db8:ff0$west::1"
done
ip -n b1 route add 192.0.2.0/24 via 172.31.1.2
ip -n b1 route add 2001:db8:c::/64 via 2001:db8:ff01::2

# --- routers -----------------------------------------------------------------------------------------------------

# Lets only answers in.
answers_only() {
  rules "$1" <<NFT
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" drop
  }
}
NFT
}

# Drops what is addressed to the router itself and answers nothing. Without it an early packet of the other side takes
# the port that a mapping was going to have.
deaf() {
  rules "$1" <<NFT
table ip deaf {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto udp drop
  }
}
NFT
}

# One public port for each private one, the same if it can be had, whoever is spoken to.
one_mapping() {
  rules "$1" <<NFT
table ip nat {
  map ports {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 120s
    size 65535
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    iifname "wan" meta l4proto udp dnat ip to udp dport map @ports
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    oifname "wan" meta l4proto udp update @ports { udp sport : ip saddr . udp sport }
    oifname "wan" masquerade
  }
}
NFT
}

# Lets in whoever has the address of somebody that was spoken to.
known_addresses() {
  rules "$1" <<NFT
table ip filter {
  set spoken_to {
    type ipv4_addr . ipv4_addr
    flags dynamic,timeout
    timeout 120s
    size 65535
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    oifname "wan" meta l4proto udp update @spoken_to { ip saddr . ip daddr }
    iifname "wan" ip daddr . ip saddr @spoken_to accept
    iifname "wan" drop
  }
}
NFT
}

# What a stock Linux router does; with "fully-random" a new port for every destination.
masquerade() {
  rules "$1" <<NFT
table ip nat {
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    oifname "wan" masquerade ${2:-}
  }
}
NFT
}

no_udp() {
  rules "$1" <<NFT
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy accept;
    meta l4proto udp drop
  }
}
NFT
}

# A firewall for IPv6, as routers at home have.
answers_only_ipv6() {
  rules "$1" <<NFT
table ip6 filter {
  chain forward {
    type filter hook forward priority 0; policy accept;
    meta l4proto ipv6-icmp accept
    iifname "wan" ct state established,related accept
    iifname "wan" drop
  }
}
NFT
}

# dress NS KIND: gives a router its kind.
dress() {
  case $2 in
    none) ;;
    fw) answers_only "$1" ;;
    full) one_mapping "$1"; deaf "$1" ;;
    addr) one_mapping "$1"; known_addresses "$1"; deaf "$1" ;;
    port | double) one_mapping "$1"; answers_only "$1"; deaf "$1" ;;
    linux) masquerade "$1"; answers_only "$1"; deaf "$1" ;;
    linuxopen) masquerade "$1"; answers_only "$1" ;;
    sym) masquerade "$1" fully-random; answers_only "$1"; deaf "$1" ;;
    blocked) no_udp "$1" ;;
    *) echo "no such kind: $2" >&2; exit 2 ;;
  esac
}

# side LETTER KIND BACKBONE NET IPV6_NET: a host behind a router. Half of the public net is for hosts that are not
# translated.
side() {
  local letter=$1 kind=$2 backbone=$3 net=$4 net6=$5 host=h$1 router=r$1 gateway=r$1
  namespace "$router"
  namespace "$host"
  wire "$backbone" "to_$letter" "$net.1/25" "$router" wan "$net.101/25"
  ip -n "$router" route add default via "$net.1"
  dress "$router" "$kind"
  local lan=10.77.1
  case $kind in
    none | fw | blocked)
      wire "$router" lan "$net.129/25" "$host" eth0 "$net.130/25"
      ip -n "$host" route add default via "$net.129"
      ip -n "$backbone" route add "$net.128/25" via "$net.101"
      return ;;
    double)
      namespace "home$letter"
      wire "$router" lan 100.64.0.1/24 "home$letter" wan 100.64.0.2/24
      ip -n "home$letter" route add default via 100.64.0.1
      gateway=home$letter
      dress "$gateway" port ;;
  esac
  wire "$gateway" lan "$lan.1/24" "$host" eth0 "$lan.2/24"
  ip -n "$host" route add default via "$lan.1"
  if [[ ${IPV6:-0} == 1 ]]; then
    addresses "$backbone" "to_$letter" "$net6:0::1/64"
    addresses "$router" wan "$net6:0::101/64"
    ip -n "$router" route add default via "$net6:0::1"
    addresses "$router" lan "$net6:1::1/64"
    addresses "$host" eth0 "$net6:1::2/64"
    ip -n "$host" route add default via "$net6:1::1"
    ip -n "$backbone" route add "$net6:1::/64" via "$net6:0::101"
    answers_only_ipv6 "$router"
  fi
}

side A "$1" b1 198.51.100 2001:db8:a
side B "$2" b4 203.0.113 2001:db8:b
shift 2
"$@"
