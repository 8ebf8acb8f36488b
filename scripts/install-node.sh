#!/usr/bin/env bash
# Installs what a node needs from Debian: a container runtime, the CNI plugins,
# and the tools that program the kernel's network. Does nothing when all is there.
set -euo pipefail

packages=(containerd runc containernetworking-plugins nftables iptables conntrack iproute2)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "A node needs the Debian packages: ${missing[*]}" >&2
  echo "Installing them takes root; without it there is the control plane and a hollow node only." >&2
  exit 1
fi
echo "Installing ${missing[*]}"
# The package would start a containerd of its own; Yare starts the one it uses.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
