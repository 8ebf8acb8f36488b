#!/usr/bin/env bash
# Measures custom resources: what thousands of definitions cost
# (YARE_DEFINITIONS, 5000), and then CPU for each operation on the objects of
# one, beside k8s.io/apiextensions-apiserver with the same definition (see
# bench-peer.sh, which leaves the comparison out where there is no peer).
set -euo pipefail
cd "$(dirname "$0")/.."
YARE_DEFINITIONS=${YARE_DEFINITIONS:-5000} go test -run '^$' -bench ManyDefinitions -benchtime 1x -timeout 30m ./apiserver/customresource
STACK=apiext PEER=apiextensions-apiserver BIG=0 KINDS=widgets:json exec scripts/bench-peer.sh
