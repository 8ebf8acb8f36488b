#!/usr/bin/env bash
# Runs every test, with the race detector, on what this tree builds.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-test.sh
make --no-print-directory build bin/helm bin/sample-apiserver

# Packages that start clusters come one at a time: two cores carry no more.
# test/yaretest has servers only, in memory.
alone='/test/'
mapfile -t units < <(go list ./... | grep -v "$alone"; go list ./test/yaretest)
mapfile -t clusters < <(go list ./... | grep "$alone" | grep -v /test/yaretest)
go test -race -timeout 15m "${units[@]}"
[ ${#clusters[@]} -eq 0 ] || go test -p 1 -timeout 20m "${clusters[@]}"

# An operator's suite, on the links that stand in for Kubernetes.
ROUNDS=4 scripts/soak-envtest.sh

# Clients that generators make of the OpenAPI documents, and those of other languages.
(cd test/clients && npm ci --no-audit --no-fund --loglevel=error && go test -timeout 5m ./...)
