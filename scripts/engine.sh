#!/usr/bin/env bash
# A Docker engine for this machine, if it has none: the distribution's own, with apt.
# Where one answers already, nothing is installed and nothing changes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

LOG=/var/log/dockerd.log

server_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

# Another engine was asked for: starting one here would not help.
check_endpoint() {
  local endpoint=${DOCKER_HOST:-}
  if [[ -z $endpoint ]] && have docker; then
    endpoint=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
  fi
  [[ -z $endpoint || $endpoint == unix:///var/run/docker.sock || $endpoint == unix:///run/docker.sock ]] \
    || die "the Docker engine at $endpoint does not answer" \
      "It was chosen by DOCKER_HOST or the current docker context, so none is started here." \
      "Start it, or choose this machine: unset DOCKER_HOST; docker context use default"
}

check_permission() {
  [[ $EUID -ne 0 && -S /var/run/docker.sock && ! -w /var/run/docker.sock ]] || return 0
  die "a Docker engine runs here, but $(id -un) may not use it" \
    "Add yourself to its group and log in again: sudo usermod -aG docker $(id -un)" \
    "Or run this as root."
}

install_engine() {
  local packages=(docker.io iptables)
  if ! have dockerd; then
    have apt-get || die "there is no Docker engine here, and no apt-get to install it with" \
      "See https://docs.docker.com/engine/install/"
    apt_refresh
    # Suites since Debian 13 have the command and buildx in packages of their own.
    if apt-cache show docker-cli >/dev/null 2>&1 && ! have docker; then packages+=(docker-cli); fi
    if apt-cache show docker-buildx >/dev/null 2>&1 && ! docker buildx version >/dev/null 2>&1; then
      packages+=(docker-buildx)
    fi
    apt_install "${packages[@]}"
  fi
}

start_engine() {
  if [[ -d /run/systemd/system ]]; then
    as_root systemctl enable --now docker >/dev/null 2>&1 \
      || die "systemd could not start the engine" "See: journalctl -u docker"
    how="systemd: it starts with the machine"
  else
    as_root sh -c "setsid nohup dockerd </dev/null >>$LOG 2>&1 &"
    how="by hand, as no systemd runs this machine: log in $LOG; start it again after a reboot"
  fi
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    if as_root docker version >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  tail -n 5 "$LOG" >&2 2>/dev/null || true
  die "the Docker engine did not answer within a minute"
}

main() {
  local version how
  if version=$(server_version); then
    say "Docker engine $version answers: using it as it is"
    return
  fi
  check_endpoint
  check_permission
  install_engine
  # Some packages start what they install.
  if ! version=$(server_version); then start_engine; else how="by its package"; fi
  check_permission
  version=$(server_version) || die "the Docker engine does not answer" "See $LOG"
  say "Docker engine $version started ($how)"
}

main "$@"
