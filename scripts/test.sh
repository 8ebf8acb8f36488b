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
# make lint vets all; nobody debugs these binaries.
quick=(-vet=off -ldflags=-w)
go test -race "${quick[@]}" -timeout 15m "${units[@]}"

# Clients that generators make of the OpenAPI documents, and those of other
# languages: mostly compiling, beside tests that mostly wait.
scratch=$(mktemp -d)
clients=
trap 'kill "$clients" 2>/dev/null || true; rm -rf "$scratch"' EXIT
(cd test/clients && npm ci --no-audit --no-fund --loglevel=error && go test "${quick[@]}" -timeout 10m ./...) >"$scratch/clients" 2>&1 &
clients=$!
failed=0
[ ${#clusters[@]} -eq 0 ] || go test -p 1 "${quick[@]}" -timeout 20m "${clusters[@]}" || failed=1
wait "$clients" || failed=1
clients=
cat "$scratch/clients"

# An operator's suite, on the links that stand in for Kubernetes.
ROUNDS=4 scripts/soak-envtest.sh || failed=1
exit "$failed"
