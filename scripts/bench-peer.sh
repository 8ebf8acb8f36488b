#!/usr/bin/env bash
# Compares the API server with others on the same machine in the same run: CPU
# for each operation over HTTPS, on etcd. Each workload runs on one server after
# the other, so that what else the machine does meets them alike. BENCH is the
# folder of the load generator and its peers; without it there is nothing to
# compare with. STACK and PEER name the peer, KINDS the objects (pods:json). N,
# OPS, LISTS, WATCHERS and REPEAT make the run smaller or bigger; WATCH=0 leaves
# watches out; OUT keeps the single results.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${BENCH:-../shared/bench}
if [ ! -x "$bench/scripts/peers.sh" ]; then
  echo "no load generator in $bench: the comparison is left out" >&2
  exit 0
fi
bench=$(cd "$bench" && pwd)
export BIN=${BIN:-${TMPDIR:-/tmp}/peers/bin}
peer=${PEER:-peer}
[ -x "$BIN/kbench" ] && [ -x "$BIN/$peer" ] && [ -x "$BIN/etcd" ] || "$bench/scripts/build.sh" kbench "$peer" etcd
[ -x "$BIN/floor" ] || (cd "$bench" && go build -trimpath -o "$BIN/floor" ./floor)
yare=${YARE:-}
[ -n "$yare" ] || { make -s bin/yare && yare=bin/yare; }

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

etcd=22379 etcd_peer=22380 api=22443 floor=22444
"$BIN/etcd" --name bench --data-dir "$work/etcd" --log-level warn \
  --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
  --listen-peer-urls "http://127.0.0.1:$etcd_peer" --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer" \
  --initial-cluster "bench=http://127.0.0.1:$etcd_peer" --quota-backend-bytes 8589934592 >"$work/etcd.log" 2>&1 &
pids+=($!)
store=$!
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/sa.key" 2>/dev/null
printf 'benchtoken,admin,admin,"system:masters"\n' >"$work/tokens.csv"
"$yare" kube-apiserver --etcd-servers "http://127.0.0.1:$etcd" --bind-address 127.0.0.1 --secure-port "$api" \
  --cert-dir "$work/certs" --token-auth-file "$work/tokens.csv" --service-account-signing-key-file "$work/sa.key" \
  --disable-admission-plugins ServiceAccount >"$work/yare.log" 2>&1 &
pids+=($!)
server=$!
"$BIN/floor" "127.0.0.1:$floor" >"$work/floor.log" 2>&1 &
pids+=($!)
ground=$!
ready() { curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$api/readyz" --oauth2-bearer benchtoken; }
for _ in $(seq 300); do
  [ "$(ready)" = 200 ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/yare.log" >&2; exit 1; }
  sleep 0.1
done

kb="$BIN/kbench --insecure --token benchtoken --timeout 5m"
export YARE_KB="$kb --server https://127.0.0.1:$api --label yare --pid $server --also-pid $store"
export FLOOR_KB="$kb --server https://127.0.0.1:$floor --label floor --pid $ground --also-pid $store"
export RESULTS=${OUT:-$work/figures.jsonl}

# KB is the peer's, by peers.sh.
suite() {
  local n=${N:-10000} ops=${OPS:-4000} lists=${LISTS:-8} watchers=${WATCHERS:-1000}
  each() { # each SERVERS kbench-args...
    local servers=$1 s
    shift
    for s in $servers; do
      local command=${s}_KB
      [ "$s" = PEER ] && command=KB
      ${!command} --n "$n" "$@" >>"$RESULTS" || echo "failed: $s $*" >&2
    done
  }
  local both="YARE PEER" format kind pair
  for _ in $(seq "${REPEAT:-1}"); do
    for pair in ${KINDS:-pods:json pods:protobuf}; do
      kind="--kind ${pair%:*} --content-type ${pair#*:}"
      local servers=$both
      [ "$pair" = pods:json ] && servers="YARE PEER FLOOR" # all that floor knows
      each "$servers" $kind setup create
      each "$both" $kind --ops "$ops" update patch
      each "$servers" $kind --ops "$ops" get
      each "$servers" $kind --lists "$lists" list
      each "$both" $kind --lists "$lists" list-paged
      each "$both" $kind --lists "$lists" --gzip list
      if [ "${WATCH:-1}" = 1 ]; then
        each "$both" $kind --lists 3 watchlist
        each "$servers" $kind --watchers 200 --replay 50 connect-watch
        each "$servers" $kind --watchers "$watchers" --changes 60 watch-fanout
      fi
      each "$both" $kind delete
    done
  done
}
export -f suite
# shellcheck disable=SC2016
"$bench/scripts/peers.sh" "${STACK:-etcd}" bash -c suite
"$BIN/kbench" report "$RESULTS"
