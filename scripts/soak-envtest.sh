#!/usr/bin/env bash
# Runs the suite of test/operator again and again on links to bin/yare, each
# time from a cold start, and looks for what a round leaves behind.
#   ROUNDS=100 scripts/soak-envtest.sh   (default: 100 rounds, in turn in memory and on etcd)
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-100}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd test/operator && go test -c -o "$work/suite" .)

# left prints the processes that were started through the links.
left() {
	local process
	for process in /proc/[0-9]*; do
		if [[ "$(tr '\0' ' ' 2>/dev/null <"$process/cmdline" || true)" == "$work"/* ]]; then
			echo "${process#/proc/}: $(tr '\0' ' ' 2>/dev/null <"$process/cmdline" | cut -c1-80)"
		fi
	done
}

# milliseconds prints what the suite said about one of its steps.
milliseconds() { sed -nE "s/.*environment $1.*\"after\": \"([0-9.]+)(ms|s)\".*/\1 \2/p" "$work/log" | awk '{printf "%d", $2 == "s" ? $1 * 1000 : $1}'; }

for ((round = 1; round <= rounds; round++)); do
	storage=memory
	((round % 2)) || storage=etcd
	assets=$work/assets temporary=$work/tmp
	mkdir "$temporary"
	bin/yare envtest install "$assets" --storage=$storage --controllers=namespace,garbagecollector,serviceaccount
	if ! (cd test/operator && TMPDIR=$temporary KUBEBUILDER_ASSETS=$assets SUITE_HAS_CONTROLLERS=1 "$work/suite" -test.timeout 5m) >"$work/log" 2>&1; then
		cat "$work/log"
		echo "round $round on $storage failed"
		exit 1
	fi
	if [ -n "$(left)" ] || [ -n "$(ls -A "$temporary")" ]; then
		left
		ls -A "$temporary"
		echo "round $round on $storage left this behind"
		exit 1
	fi
	echo "$storage $(milliseconds started) $(milliseconds stopped)" >>"$work/times"
	rm -rf "$assets" "$temporary"
done

# Medians of the whole environment: both programs, definitions and webhooks.
for storage in memory etcd; do
	for column in 2 3; do
		awk -v s=$storage -v c=$column '$1 == s {print $c}' "$work/times" | sort -n | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]}' >"$work/median.$column"
	done
	[ ! -s "$work/median.2" ] || echo "$storage: $(grep -c "^$storage" "$work/times") rounds, start $(cat "$work/median.2") ms, stop $(cat "$work/median.3") ms (medians), nothing left"
done
