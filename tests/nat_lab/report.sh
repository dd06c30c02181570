#!/usr/bin/env bash
# Inside a topology: a rendezvous server at s, and `ebbtide nat --json` at hA.
#
#   report.sh EBBTIDE
set -uo pipefail
ebbtide=$1
log=$(mktemp)
ip netns exec s "$ebbtide" rendezvous --listen 192.0.2.10:7171 --quiet >"$log" 2>&1 &
first=$!
ip netns exec s "$ebbtide" rendezvous --listen 192.0.2.11:7171 --quiet >>"$log" 2>&1 &
second=$!
trap 'kill $first $second; wait; rm -f "$log"' EXIT
for _ in $(seq 100); do
  (($(grep -c 7171 "$log") >= 2)) && break
  sleep 0.05
done
ip netns exec hA "$ebbtide" nat --server 192.0.2.10:7171 192.0.2.11:7171 --json
ip netns exec hA "$ebbtide" nat --server 192.0.2.10:7171 192.0.2.11:7171 >&2
