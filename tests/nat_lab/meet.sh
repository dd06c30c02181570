#!/usr/bin/env bash
# Inside a topology: a rendezvous server at s, and hA and hB who meet by the name of a room, as often as asked.
#
#   meet.sh EBBTIDE ROUNDS [ARGUMENT OF ebbtide punch...]
#
# Prints a line for each end and round: the letter of the host, the exit status, and what `ebbtide punch --json` said.
# SERVER is where the server listens (192.0.2.10:7171). REBIND=A lets the router of hA forget what it knows once it has
# forwarded REBIND_AFTER bytes (20 MB), and hand out other ports from then on; the lines are slow then.
set -uo pipefail
ebbtide=$1 rounds=$2
shift 2
work=$(mktemp -d)
children=()
ends=()
clean() {
  local child
  for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "$work"
}
trap clean EXIT

server=${SERVER:-192.0.2.10:7171}
ip netns exec s "$ebbtide" rendezvous --listen "$server" --stun 192.0.2.11:7171 --quiet >"$work/server" 2>&1 &
children+=($!)
ip netns exec s "$ebbtide" rendezvous --listen 192.0.2.11:7171 --quiet >"$work/second" 2>&1 &
children+=($!)
for _ in $(seq 100); do
  grep -q 7171 "$work/server" && grep -q 7171 "$work/second" && break
  sleep 0.05
done

# Everything that the router knows about flows is gone, and masquerading begins elsewhere: at one port for all
# destinations, or at a random one for each, as the router did it before.
rebind() {
  local router=r$1 ports=:31000
  ip netns exec "$router" nft list chain ip nat postrouting | grep -q fully-random && ports=":30000-40000 fully-random"
  # The rule first: flows come back within microseconds.
  # shellcheck disable=SC2086 # two words
  ip netns exec "$router" nft insert rule ip nat postrouting oifname wan meta l4proto udp masquerade to $ports
  ip netns exec "$router" conntrack -F 2>/dev/null
}

for round in $(seq "$rounds"); do
  for host in A B; do
    (
      said=$(ip netns exec "h$host" timeout "${PATIENCE:-60}" "$ebbtide" punch "lab $$ $round" --server "$server" --json "$@" 2>"$work/err$host")
      status=$?
      echo "$host $status ${said:-$(tr '\n' ' ' <"$work/err$host")}"
    ) &
    ends[${#ends[@]}]=$!
  done
  if [[ -n ${REBIND:-} ]]; then
    # Slow enough for there to be something left to do.
    for router in rA rB; do
      ip netns exec "$router" tc qdisc replace dev wan root tbf rate 200mbit burst 128k latency 30ms 2>/dev/null
    done
    for _ in $(seq 600); do
      (($(ip netns exec "r$REBIND" cat /sys/class/net/wan/statistics/tx_bytes) >= ${REBIND_AFTER:-20000000})) && break
      sleep 0.1
    done
    rebind "$REBIND"
  fi
  wait "${ends[@]}"
  ends=()
done
