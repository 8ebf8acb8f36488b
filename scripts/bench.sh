#!/usr/bin/env bash
# Measures what `make build` built: the whole cluster from outside, then the
# parts. Compare two runs with benchstat.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${COUNT:-5}
go test -run '^$' -bench . -benchtime 1x -count "$count" -timeout 40m ./test/bench
go test -run '^$' -bench . -benchtime 20x -count "$count" ./test/yaretest
go test -run '^$' -bench . -benchtime 200ms ./storage/... ./apiserver/... ./admission/... ./test/admission ./scheduler/... ./kubeproxy/...
