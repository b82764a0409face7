# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
  printf '\033[31merror:\033[0m %s\n' "$1" >&2
  shift
  for line in "$@"; do note "$line"; done
  exit 1
}
if [[ ! -t 2 || -n ${NO_COLOR:-} ]]; then
  say() { printf '==> %s\n' "$*" >&2; }
  die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do note "$line"; done
    exit 1
  }
fi

have() { command -v "$1" >/dev/null 2>&1; }

# The engine's tools live in sbin, which a normal user's PATH often lacks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# as_root CMD...: CMD as root, through sudo where needed.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif have sudo; then
    sudo -- "$@"
  else
    die "'$1' needs root, and there is no sudo here" "Run this again as root."
  fi
}

# apt_install PACKAGE...: installs what is missing; no recommended extras, no questions.
apt_install() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] \
      || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  have apt-get || die "this needs ${missing[*]}, and there is no apt-get to install it with" \
    "Install it with your system's package manager and run this again."
  say "Installing with apt: ${missing[*]}"
  apt_refresh
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    "${missing[@]}" </dev/null 2>&1 >/dev/null \
    | { grep -v "^debconf: delaying" >&2 || true; } \
    || die "apt could not install ${missing[*]}"
}

# apt_refresh: package lists are fetched at most once in a run.
APT_FRESH=
apt_refresh() {
  [[ -n $APT_FRESH ]] && return
  as_root apt-get -qq update </dev/null || die "apt-get update failed" "Is the network up?"
  APT_FRESH=1
}
