#!/usr/bin/env bash
# Measures the PostgreSQL store beside kine, each on a PostgreSQL of its own
# with the same settings. Kine is built from the module proxy into a temporary
# directory; nothing outside this tree is needed but Go and PostgreSQL.
#
#   scripts/bench-postgres.sh [-bench REGEXP] [-benchtime 3000x] [-count 5] ...
set -euo pipefail
cd "$(dirname "$0")/.."
KINE_VERSION=${KINE_VERSION:-v0.17.5}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 GOBIN=$bin go install "github.com/k3s-io/kine@$KINE_VERSION"
[ $# -gt 0 ] || set -- -bench 'Create|Update|List|Watch' -benchtime 3000x
YARE_BENCH_KINE=$bin/kine go test ./storage/postgres -run '^$' -timeout 60m "$@"
