#!/usr/bin/env bash
# Makes .venv with uv and exactly the locked dependencies. Quick and harmless when run again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"
cd "$here/.."

VENV=.venv
STAMP=$VENV/.locked

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if have "$name" && new_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Which Python, and what is locked: with both unchanged there is nothing to do.
fingerprint() {
  cat uv.lock pyproject.toml | sha256sum | cut -d' ' -f1
  "$VENV/bin/python" --version
}

up_to_date() {
  [[ -x $VENV/bin/uv && -f $STAMP ]] && [[ $(fingerprint 2>/dev/null) == "$(<"$STAMP")" ]]
}

make_venv() {
  local python
  if ! python=$(find_python); then
    apt_install python3 python3-venv
    python=$(find_python) || die "deploytool needs Python 3.11 or newer" \
      "This machine's newest is $(python3 --version 2>/dev/null || echo none)."
  fi
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian keeps venv's other half in a package of its own, one per Python version.
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  say "Making $VENV with $("$python" --version)"
  "$python" -m venv --clear "$VENV"
}

main() {
  [[ -f uv.lock ]] || die "there is no uv.lock in $PWD"
  if up_to_date; then return; fi
  if ! new_enough "$VENV/bin/python"; then make_venv; fi
  if [[ ! -x $VENV/bin/uv ]] && ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    "$VENV/bin/python" -m ensurepip >/dev/null 2>&1 || make_venv
  fi
  if [[ ! -x $VENV/bin/uv ]]; then
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
      --require-hashes --requirement <("$VENV/bin/python" "$here/locked.py" uv) \
      || die "pip could not install uv" "Is PyPI, or the index your pip uses, reachable?"
  fi
  say "Installing the locked dependencies"
  # The certificates that the machine, and so pip, trusts; uv alone would bring its own.
  if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
    export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
  fi
  UV_PROJECT_ENVIRONMENT=$VENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=${UV_LINK_MODE:-copy} \
    "$VENV/bin/uv" sync --locked --inexact --quiet --python "$VENV/bin/python" \
    || die "uv could not install what uv.lock names"
  fingerprint >"$STAMP"
}

main "$@"
