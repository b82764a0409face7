"""Hypothesis: any valid app. What is drawn is written as a user would write it."""

from __future__ import annotations

import re
from posixpath import normpath
from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from deploytool.backends.nomad.specification.refused import problems
from deploytool.spec import AppSpec, Backend, Service
from deploytool.units import format_duration, format_memory
from tests.builders import REGISTRY, contents, digests

quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
"""A machine that runs many tests is slow now and then; that is no failure."""

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
variables = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
).filter(lambda text: not text.startswith("\n"))
"""Any text, but for a first line that is empty: the docker command line prints that wrong."""
commands = st.lists(texts, min_size=1, max_size=3).filter(lambda command: command[0] != "")
braces = st.text("{}`$ x", max_size=8)
"""What the Swarm would take for a template."""
lines = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
users = lines.filter(lambda text: not re.search(r"-|[0-9]{10}", text))
words = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
paths = st.from_regex(r"/[a-z0-9_./-]{0,10}", fullmatch=True)
requests = st.from_regex(r"/[!-~]{0,12}", fullmatch=True)
ports = st.integers(1, 65535)
durations = st.integers(0, 5_000_000).map(format_duration)
some_time = st.integers(1, 5_000_000).map(format_duration)
memory = st.integers(6 * 2**20, 2**36).map(format_memory)
cores = st.integers(10**7, 10**11).map(lambda nano: nano / 10**9)


def _unique(values: st.SearchStrategy[Any], size: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=size, unique=True)


_health = {
    "interval": some_time,
    "timeout": some_time,
    "retries": st.integers(1, 100),
    "start_period": durations,
    "start_interval": some_time,
}
_healthchecks = st.fixed_dictionaries({"command": commands}, optional=_health)
_restarts = st.fixed_dictionaries(
    {},
    optional={
        "condition": st.sampled_from(["any", "on-failure", "none"]),
        "delay": durations,
        "max_attempts": st.integers(0, 100),
        "window": durations,
    },
)
_updates = st.fixed_dictionaries(
    {"order": st.just("stop-first")},
    optional={
        "parallelism": st.integers(1, 1000),
        "delay": durations,
        "monitor": durations,
        "on_failure": st.sampled_from(["rollback", "pause"]),
        "max_failure_ratio": st.integers(0, 100).map(lambda percent: percent / 100),
    },
)
_placements = st.fixed_dictionaries(
    {},
    optional={
        "constraints": _unique(
            st.tuples(words, st.sampled_from(["==", "!="]), words).map(
                lambda parts: f"node.labels.{parts[0]} {parts[1]} {parts[2]}"
            )
        ),
        "spread": _unique(words.map(lambda word: f"node.labels.{word}")),
        "max_per_node": st.integers(0, 100),
    },
)
_targets = st.from_regex(r"/code/config/[a-z0-9$_.-]{0,6}x", fullmatch=True)
_sources = st.from_regex(r"(\.\./)?config/[A-Za-z0-9$ _.é-]{0,30}x", fullmatch=True)
_publishes = st.fixed_dictionaries(
    {"port": ports, "target": ports},
    optional={
        "mode": st.sampled_from(["host", "ingress"]),
        "protocol": st.sampled_from(["tcp", "udp"]),
    },
)
_loggings = st.fixed_dictionaries(
    {"driver": st.sampled_from(["json-file", "local"])},
    optional={"max_size": memory, "max_files": st.integers(2, 100)},
) | st.fixed_dictionaries(
    {"driver": words.filter(lambda name: name not in ("json-file", "local", "none"))},
    optional={
        "options": st.dictionaries(
            st.from_regex(r"x-[A-Za-z0-9_-]{0,9}", fullmatch=True), texts, max_size=3
        )
    },
)
_limits = st.integers(-1, 10**6) | st.integers(0, 10**6).map(lambda n: f"{n}:{2 * n}")
_hosts = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,5}(\.[a-z]{1,4})?", fullmatch=True),
    st.sampled_from(["10.0.0.5", "::1", "host-gateway"]),
    max_size=3,
)


_TAKEN = re.compile(r"/((tmp|dev|proc|sys|run|local|alloc|secrets)(/.*)?)?$")
"""Where nothing can be mounted, or not beside all else."""


@st.composite
def volumes(draw: st.DrawFn) -> list[str]:
    folders = paths.filter(lambda path: not _TAKEN.match(normpath(f"/.{path}")))
    targets = draw(st.lists(folders, max_size=3, unique_by=lambda path: normpath(f"/.{path}")))
    sources = [draw(st.one_of(words, paths)) for _ in targets]
    modes = [draw(st.sampled_from(["", ":ro"])) for _ in targets]
    return [f"{s}:{t}{m}" for s, t, m in zip(sources, targets, modes, strict=True)]


@st.composite
def services(draw: st.DrawFn, name: st.SearchStrategy[str] = names) -> Service:
    """Any service; some with a port, some of a ready image."""
    given: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {"name": name, "command": commands},
            optional={
                "image": st.sampled_from(["redis:8", "registry.example.com/a/b:1.2"]),
                "replicas": st.integers(0, 50),
                "prestart": commands | st.just([]),
                "env": st.dictionaries(variables, texts | braces, max_size=4),
                "secrets": _unique(variables),
                "files": st.dictionaries(_targets, _sources, max_size=3),
                "path_prefix": st.sampled_from(["/", "/v1", "/api/v2/"]),
                "drain": st.just("0s"),
                "stop_grace": durations,
                "volumes": volumes(),
                "read_only": st.booleans(),
                "pids": st.integers(0, 100_000),
                "tmp_size": st.just("0B") | memory,
                "tmpfs": st.dictionaries(
                    st.from_regex(r"/run/[a-z${]{0,4}x", fullmatch=True), memory, max_size=2
                ),
                "ulimits": st.dictionaries(st.sampled_from(["memlock", "core"]), _limits),
                "hostname": st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z])?", fullmatch=True),
                "extra_hosts": _hosts,
                "user": users,
                "init": st.booleans(),
                "capabilities": st.just("default")
                | _unique(st.sampled_from(["CHOWN", "CAP_NET_RAW", "SYS_TIME"])),
                "labels": st.dictionaries(lines, texts, max_size=3),
                "networks": _unique(words.map(lambda word: f"net-{word}")),
                "publish": st.lists(_publishes, max_size=2, unique_by=str),
                "restart": _restarts,
                "update": _updates,
                "placement": _placements,
                "logging": _loggings,
                "healthcheck": _healthchecks,
            },
        )
    )
    for low, high, sizes in (("memory", "memory_limit", memory), ("cpu", "cpu_limit", cores)):
        given[draw(st.sampled_from([low, high]))] = draw(sizes)
    given["drain"] = "0s"
    if draw(st.integers(0, 3)) == 3:
        placed = {key: given.get("placement", {}).get(key, []) for key in ("constraints",)}
        given = {k: v for k, v in given.items() if k != "replicas"}
        given |= {"mode": "global", "placement": placed}
    if draw(st.booleans()):
        given |= {
            "port": draw(ports),
            "domains": draw(st.none() | _unique(st.sampled_from(_DOMAINS))),
        }
        if draw(st.booleans()):
            given["healthcheck"] = {"path": draw(paths | requests)}
    return Service.model_validate(given)


_DOMAINS = ["api.example.com", "*.example.com", "example.org"]


@st.composite
def apps(draw: st.DrawFn) -> AppSpec:
    """Any app of one to three services."""
    called = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    made = tuple(
        draw(services(st.just(name))).model_copy(
            update={"depends_on": tuple(draw(_unique(st.sampled_from(called[:i])))) if i else ()}
        )
        for i, name in enumerate(called)
    )
    published = [(p.protocol, p.port) for service in made for p in service.publish]
    assume(len(set(published)) == len(published))
    return AppSpec(
        name=draw(names),
        image=f"{REGISTRY}/{draw(names)}",
        services=made,
        files=digests(contents(*made)),
        environment=draw(st.none() | names),
    )


def nomad_apps() -> st.SearchStrategy[AppSpec]:
    """Any app, without what Nomad cannot do."""
    return apps().map(_on_nomad)


def _on_nomad(spec: AppSpec) -> AppSpec:
    kept = tuple(
        one.model_copy(
            update={
                "mode": "replicated",
                "networks": (),
                "publish": (),
                "healthcheck": one.healthcheck if one.port else None,
            }
        )
        for one in spec.services
    )
    found = spec.model_copy(update={"services": kept, "backend": Backend.NOMAD})
    assume(not list(problems(found)))
    return found
