#!/usr/bin/env bash
# Installs what the tests need beyond a node: etcdctl to look into the store, an
# etcd that is not ours, PostgreSQL and a pooler for it, and busybox for a pod that
# needs programs.
set -euo pipefail
"$(dirname "$0")/install-node.sh"
packages=(busybox-static etcd-client etcd-server gcc libc6-dev pgbouncer postgresql)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
