#!/usr/bin/env bash
# From a bare machine to four replicas of the example behind a proxy. Run it as often as you like.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"
cd "$here/.."

HOST=items.localhost
PORT=${DEPLOYTOOL_PROXY__HTTP_PORT:-80}
URL=http://$HOST$([[ $PORT == 80 ]] || printf ':%s' "$PORT")
REQUESTS=12
deploytool=.venv/bin/deploytool

# Names below localhost resolve in browsers and newer curls; say it for all of them.
get() { curl -sS --noproxy '*' --max-time 5 --resolve "$HOST:$PORT:127.0.0.1" "$@"; }

introduce() {
  say "deploytool quickstart"
  note "On this machine it will, skipping what is there already:"
  note " 1. make .venv with the locked dependencies"
  note " 2. install and start the distribution's Docker engine, if none answers"
  note " 3. make stand-ins for the base images, if Docker Hub cannot be reached"
  note " 4. turn on Swarm mode and start a registry at localhost:5000 (deploytool cluster up)"
  note " 5. start the proxy, Traefik, on port $PORT (deploytool proxy up)"
  note " 6. build the example in app/ and run four replicas at $URL (deploytool deploy)"
}

wait_for_app() {
  local deadline=$((SECONDS + 30))
  until [[ $(get -o /dev/null -w '%{http_code}' "$URL/" 2>/dev/null) == 200 ]]; do
    ((SECONDS < deadline)) || die "nothing answers at $URL" \
      "See: $deploytool status; $deploytool proxy status; $deploytool doctor"
    sleep 0.3
  done
}

# One connection per request: what the proxy does with a connection is not the point here.
ask() {
  local sent
  for ((sent = 0; sent < REQUESTS; sent++)); do
    get -o /dev/null -D - "$URL/" | tr -d '\r' | awk 'tolower($1) == "x-replica:" {print $2}'
  done
}

show_answers() {
  local answers
  answers=$(ask)
  [[ -n $answers ]] || die "no request to $URL was answered"
  say "$(wc -l <<<"$answers") of $REQUESTS requests to $URL answered, by replica:"
  sort <<<"$answers" | uniq -c | sed 's/^/    /' >&2
}

what_next() {
  say "It runs: $URL/docs"
  note "What to try next:"
  note "  source .venv/bin/activate"
  note "  deploytool status            the replicas: where, which release, how healthy"
  note "  deploytool logs -f           all replicas' logs as they come"
  note "  deploytool scale web=6       two more replicas"
  note "  edit app/main.py, then deploytool plan and deploytool deploy"
  note "  deploytool rollback          back to the release before"
  note "  deploytool destroy           removes the example again"
}

main() {
  [[ $EUID -eq 0 ]] || have sudo || have docker \
    || die "this installs a Docker engine: run it as root, or where there is sudo"
  introduce
  have curl || apt_install curl ca-certificates
  "$here/bootstrap.sh"
  "$here/engine.sh"
  "$here/stand-ins.sh" --if-needed
  "$deploytool" cluster up
  "$deploytool" proxy up --yes
  "$deploytool" deploy --yes
  wait_for_app
  show_answers
  what_next
}

main "$@"
