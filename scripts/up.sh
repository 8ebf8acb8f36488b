#!/usr/bin/env bash
# Brings a cluster up on this machine and stays with it until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1

if [ "$(id -u)" = 0 ]; then
  scripts/install-node.sh
  node=()
else
  cat <<'TXT'
Not root: containers, service addresses and pod networking are not to be had.
You get the whole control plane, and a hollow node that pretends to run pods.
TXT
  node=(--hollow-node)
  [ "$data" != /var/lib/yare ] || data=${XDG_DATA_HOME:-$HOME/.local/share}/yare
fi

echo "Building (the first time takes some minutes)"
make --no-print-directory -s build
mkdir -p "$data"
echo "Log: $data/yare.log"
exec bin/yare server --data-dir "$data" "${node[@]}" 2>>"$data/yare.log"
