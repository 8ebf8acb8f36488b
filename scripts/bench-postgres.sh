#!/usr/bin/env bash
# Measures the PostgreSQL store beside kine, each on a PostgreSQL of its own
# with the same settings. Kine is built from the module proxy into a temporary
# directory; nothing outside this tree is needed but Go and PostgreSQL. Without
# arguments all is measured, which takes some 20 minutes; YARE_BENCH_REVISIONS
# is how many revisions are compacted (100000).
#
#   scripts/bench-postgres.sh [-bench REGEXP] [-benchtime 3000x] [-count 5] ...
set -euo pipefail
cd "$(dirname "$0")/.."
KINE_VERSION=${KINE_VERSION:-v0.17.5}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 GOBIN=$bin go install "github.com/k3s-io/kine@$KINE_VERSION"
go test -c -o "$bin/bench" ./storage/postgres
measure() { YARE_BENCH_KINE=$bin/kine "$bin/bench" -test.run '^$' -test.timeout 60m "${@/#-/-test.}"; }
if [ $# -gt 0 ]; then
  measure "$@"
  exit
fi
measure -bench 'Create|Update|Watch' -benchtime 3000x -count 5
measure -bench List -benchtime 5x -count 3
measure -bench Compact -benchtime 1x
