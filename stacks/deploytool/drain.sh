#!/bin/sh
# Runs a command and delays its stop: drain.sh SECONDS COMMAND [ARGUMENT...]
#
# TERM and QUIT reach the command after SECONDS, INT at once. The script ends when the command does,
# with its exit code.
# shellcheck disable=SC2317 # Traps call the functions.
seconds=$1
shift

"$@" &
process=$!
when_clean=0
delayed=

# An engine that stops leaves the cluster's network before its containers stop. The other nodes then
# forget the way to them, and learn it again from whatever comes from there. Without this, what is
# being sent to a replica at that moment, or later on connections that it has, does not arrive: 16
# of 9,141 requests where an engine restarted that had not been drained. An empty datagram goes to
# every neighbour, ten times a second.
keep_reachable() {
    python -I -S -c '
import socket, sys, time
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(round(float(sys.argv[1]) * 10)):
    with open("/proc/net/arp") as neighbours:
        for line in list(neighbours)[1:]:
            datagrams.sendto(b"", (line.split()[0], 9))
    time.sleep(0.1)
' "$seconds"
}

# Only the first signal counts: an engine that stops asks twice, once for its containers and once
# for the cluster's.
drain() {
    trap : TERM QUIT
    { sleep "$seconds"; kill -"$1" "$process"; } >/dev/null 2>&1 &
    delayed=$!
    stopping
    { keep_reachable; } >/dev/null 2>&1 &
}

# What was asked to stop never ends with 0 (143 is what TERM ends with). A new replica that is
# stopped as unhealthy and ends with 0 runs for a moment in the engine's eyes (`Start` in moby's
# daemon/cluster/executor/container/controller.go), which takes the old one away for it.
stopping() {
    when_clean=143
}

trap 'drain TERM' TERM
trap 'drain QUIT' QUIT
trap 'stopping; kill "$process"' INT

# The first `wait` may lack the exit code, where a signal came just as the process went. The second
# has it then; where the first had it, the second says 127.
{
    while wait "$process"; code=$?; kill -0 "$process"; do :; done
    wait "$process"; last=$?
    kill "$delayed"
} 2>/dev/null
[ "$last" = 127 ] || code=$last
[ "$code" != 0 ] || code=$when_clean
exit "$code"
