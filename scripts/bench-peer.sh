#!/usr/bin/env bash
# Compares the API server with others on the same machine in the same run: CPU
# for each operation over HTTPS, on etcd. BENCH is the folder of the load
# generator and its peers; without it there is nothing to compare with. STACK
# and PEER name the peer. N, REPEAT, KINDS, OPS, LISTS, WATCH and BIG make the
# run smaller or bigger.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${BENCH:-../shared/bench}
if [ ! -x "$bench/scripts/suite.sh" ]; then
  echo "no load generator in $bench: the comparison is left out" >&2
  exit 0
fi
bench=$(cd "$bench" && pwd)
export BIN=${BIN:-${TMPDIR:-/tmp}/peers/bin}
PEER=${PEER:-peer}
[ -x "$BIN/kbench" ] && [ -x "$BIN/$PEER" ] && [ -x "$BIN/etcd" ] || "$bench/scripts/build.sh" kbench "$PEER" etcd
make -s bin/yare

work=$(mktemp -d)
pids=()
cleanup() {
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || continue
    wait "${pids[i]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

etcd=22379 peer=22380 api=22443
"$BIN/etcd" --name bench --data-dir "$work/etcd" --log-level warn \
  --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
  --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
  --initial-cluster "bench=http://127.0.0.1:$peer" --quota-backend-bytes 8589934592 >"$work/etcd.log" 2>&1 &
pids+=($!)
store=$!
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/sa.key" 2>/dev/null
printf 'benchtoken,admin,admin,"system:masters"\n' >"$work/tokens.csv"
bin/yare kube-apiserver --etcd-servers "http://127.0.0.1:$etcd" --bind-address 127.0.0.1 --secure-port "$api" \
  --cert-dir "$work/certs" --token-auth-file "$work/tokens.csv" --service-account-signing-key-file "$work/sa.key" \
  --disable-admission-plugins ServiceAccount >"$work/yare.log" 2>&1 &
pids+=($!)
server=$!
ready() { curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$api/readyz" --oauth2-bearer benchtoken; }
for _ in $(seq 100); do
  [ "$(ready)" = 200 ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/yare.log" >&2; exit 1; }
  sleep 0.1
done

KB="$BIN/kbench --server https://127.0.0.1:$api --insecure --token benchtoken --label yare --pid $server --also-pid $store" \
  "$bench/scripts/suite.sh" >"$work/figures.jsonl"
kill "$server" && wait "$server" || true
"$bench/scripts/peers.sh" "${STACK:-etcd}" >>"$work/figures.jsonl"
"$BIN/kbench" report "$work/figures.jsonl"
