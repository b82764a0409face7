"""The scripts that replicas run: as configs, in a plan, and inline as they were before."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import tokenize
from pathlib import Path
from typing import Any

import pytest

from deploytool.backends.model import Action, Job
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.operations.jobs import job_spec
from deploytool.backends.swarm.planning import scripts as planned
from deploytool.backends.swarm.planning.diff import differences, normal
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification.scripts import (
    BY_TARGET,
    DRAIN,
    HEALTHCHECK,
    Script,
    version_of,
)
from deploytool.spec import AppSpec, Service
from tests.builders import app, images, release, service
from tests.fake_engine import FakeEngine

INLINE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "stored/services/inline-scripts.json").read_text()
)
GIVEN: dict[str, Service] = {
    "default": service(),
    "prestart": service(prestart=["python", "-m", "warm up"]),
    "off-proxy": service(domains=[]),
}
BEHAVIOUR = {
    ("drain.sh", 1): "5015eaba4a13",
    ("healthcheck.py", 1): "799a7f1cfc11",
    ("healthcheck.py", 2): "8f3eff5dc996",
}
"""Each version of a script, and the digest of what it does."""


def behaviour(script: Script) -> str:
    """The digest of a script without its comments."""
    text = script.content.decode()
    code = _python(text) if script.file.endswith(".py") else _shell(text)
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def _shell(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def _python(text: str) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kept = (t.string for t in tokens if t.type not in (tokenize.COMMENT, tokenize.NL))
    return " ".join(word for word in kept if not word.startswith('"""'))


@pytest.mark.parametrize("script", BY_TARGET.values(), ids=lambda script: script.file)
def test_a_script_that_does_something_else_has_another_version(script: Script) -> None:
    """A new version replaces every replica, and must be one: raise it, and add its digest here."""
    assert BEHAVIOUR[script.file, script.version] == behaviour(script)


@pytest.mark.parametrize("script", BY_TARGET.values(), ids=lambda script: script.file)
def test_config_name_has_the_version_and_fits(script: Script) -> None:
    name = script.config_name("a" * 40)
    assert len(name) <= 64
    assert version_of(script.target, name) == script.version
    assert version_of("/code/other", name) is None
    assert version_of(script.target, "items_web.yml-0123456789ab") is None


@pytest.mark.parametrize("kind", GIVEN)
def test_upgrade_from_inline_scripts_is_one_line_each(kind: str) -> None:
    given = GIVEN[kind]
    spec = swarm.service_spec(app(given), given, images(app(given))["web"], None)
    before, after = copy.deepcopy(INLINE[kind]), spec
    before["TaskTemplate"]["ContainerSpec"]["Image"] = spec["TaskTemplate"]["ContainerSpec"][
        "Image"
    ]
    found = {
        f.path: (f.before, f.after) for f in differences(normal(before, {}), normal(after, {}))
    }
    drains = {"drain script": ("inline", 1)} if kind != "off-proxy" else {}
    limits = {"pids": (None, 1024), "tmp_size": ("no limit", "64MiB")}
    check = {
        "health check script": ("inline", 2),
        "healthcheck.interval": ("5s", "10s"),
        "healthcheck.retries": (3, 2),
    }
    assert found == {**drains, **limits, **check}


def deployed(engine: FakeEngine, spec: AppSpec) -> Any:
    found = Swarm(engine).plan(spec, images(spec))
    Swarm(engine).rollout(found).start(release(spec))
    return engine.service("items_web")


def test_first_deploy_creates_the_scripts_and_does_not_list_them() -> None:
    engine = FakeEngine()
    found = Swarm(engine).plan(app(), images(app()))
    assert not [change for change in found.changes if change.kind == "config"]
    live = deployed(engine, app())
    mounted = live["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"]
    names = {config["Spec"]["Name"] for config in engine.configs()}
    assert {reference["ConfigName"] for reference in mounted} <= names
    assert Swarm(engine).plan(app(), images(app())).is_empty


def other_version(script: Script, version: int, content: str = "0" * 8) -> str:
    name = script.config_name("items")
    return name.replace(f"-{script.version}-", f"-{version}-")[:-8] + content


def with_config(live: Any, script: Script, name: str) -> None:
    for reference in live["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"]:
        if reference["File"]["Name"] == script.target:
            reference["ConfigName"] = name


def test_another_version_replaces_the_replicas_in_one_line() -> None:
    engine = FakeEngine()
    live = deployed(engine, app())
    with_config(live, DRAIN, other_version(DRAIN, 9))
    (change, *_) = Swarm(engine).plan(app(), images(app())).changes
    assert change.replaces
    assert [(f.path, f.before, f.after) for f in change.fields] == [("drain script", 9, 1)]


def test_another_comment_replaces_nothing_and_goes_along_with_nothing_else() -> None:
    engine = FakeEngine()
    live = deployed(engine, app())
    old = other_version(HEALTHCHECK, HEALTHCHECK.version)
    with_config(live, HEALTHCHECK, old)
    assert Swarm(engine).plan(app(), images(app())).is_empty
    more = app(service(replicas=2))
    plan = Swarm(engine).plan(more, images(more))
    (change, *_) = plan.changes
    assert (change.action, change.replaces) == (Action.UPDATE, False)
    (target,) = plan.payload.targets
    container = target.spec["TaskTemplate"]["ContainerSpec"]
    assert old in {reference["ConfigName"] for reference in container["Configs"]}


def test_delay_of_the_stop_is_shown_as_drain() -> None:
    engine = FakeEngine()
    deployed(engine, app())
    longer = app(service(drain="9s"))
    (change, *_) = Swarm(engine).plan(longer, images(longer)).changes
    assert [(f.path, f.before, f.after) for f in change.fields if f.path == "drain"] == [
        ("drain", "3", "7")
    ]


def test_one_off_tasks_do_without() -> None:
    spec = app(service(files={"/code/a.yml": "a.yml"}))
    job = Job(name="run-1", release=release(spec), service="web", command=("true",))
    container = job_spec(job, {})["TaskTemplate"]["ContainerSpec"]
    assert [reference["File"]["Name"] for reference in container["Configs"]] == ["/code/a.yml"]


def test_what_is_no_script_of_ours_is_left_as_it_is() -> None:
    container: dict[str, Any] = {
        "Args": ["/bin/sh", "-c", "echo; sleep 3;"],
        "Healthcheck": {"Test": ["CMD", "python", "-I", "-S", "-c", "print()"]},
        "Configs": {"/deploytool/drain.sh": "items_mine"},
    }
    before = copy.deepcopy(container)
    planned.separate(container)
    assert container == before | {"Scripts": {}}
