#!/usr/bin/env bash
# Installs the peers of the interoperability tests, libutp, utp-punch and libtorrent, into target/peers (or $EBBTIDE_PEERS).
# Needs node with npm and python3 with pip. Versions are pinned in package-lock.json and requirements.txt.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${EBBTIDE_PEERS:-$here/../../../target/peers}
mkdir -p "$peers"

cp "$here/package.json" "$here/package-lock.json" "$peers/"
(
  cd "$peers"
  npm ci --no-audit --no-fund --loglevel=error
  # Where no prebuilt binding fits the platform, it is compiled.
  node -e 'require("utp-native")' 2>/dev/null || npm rebuild utp-native
  node -e 'require("utp-punch"); console.log("utp-punch", require("utp-punch/package.json").version)'
  node -e 'require("utp-native"); console.log("utp-native", require("utp-native/package.json").version)'
)

python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade \
  --target "$peers/python" -r "$here/requirements.txt"
PYTHONPATH="$peers/python" python3 -c 'import libtorrent; print("libtorrent", libtorrent.__version__)'
