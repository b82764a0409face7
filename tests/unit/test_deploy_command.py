"""`deploy` from the call to the tag `latest`: what it asks before it builds, and when it builds.

The cluster is a fake one; docker is one that has no cache, so that every build is another image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.model import Lease
from deploytool.backends.swarm.backend import Swarm
from deploytool.errors import RegistryError
from deploytool.image import build as build_module
from deploytool.image import users
from deploytool.process import Finished
from deploytool.records import lease
from deploytool.redact import MASK
from deploytool.spec import Image
from tests.builders import with_proxy
from tests.fake_engine import FakeEngine
from tests.unit.test_git import commit, git

REPOSITORY = "registry.example.com/items"
CONFIGURATION = """\
app = "items"
registry = "registry.example.com"
entrypoint = "main:app"
[services.web]
port = 8000
memory = "64MiB"
cpu = 0.1
replicas = {replicas}
update.monitor = "1ms"
{more}
"""


class Docker:
    """Builds and pushes to the registry of a fake cluster."""

    def __init__(self, registry: dict[str, Image]) -> None:
        self.registry = registry
        self.builds = 0
        self.calls: list[Sequence[str]] = []
        self.repository = REPOSITORY
        self.user = ""
        """USER of what it builds. The images have root and nobody else."""
        self.during_build: Callable[[], object] = lambda: None

    def stream(
        self, command: Sequence[str], on_line: Callable[[str], None], *, env: Mapping[str, str]
    ) -> int:
        self.calls.append(command)
        if command[1] == "push":
            repository = command[2].rpartition(":")[0]
            self.put(command[2], self.source.partition("@")[2])
            assert repository == self.repository
            return 0
        self.builds += 1
        self.during_build()
        digest = f"sha256:{self.builds:064x}"
        for argument in command:
            name, _, value = argument.partition("=")
            if name == "--tag":
                self.put(value, digest)
            elif name == "--metadata-file":
                Path(value).write_text(json.dumps({"containerimage.digest": digest}))
        return 0

    def capture(self, command: Sequence[str], *, env: Mapping[str, str]) -> Finished:
        self.calls.append(command)
        if command[1] == "tag":
            self.source = command[2]
        if command[1] == "cp":
            Path(command[-1]).write_text("root:x:0:0:root:/root:/bin/sh\n")
        is_user = "--format={{.Config.User}}" in command
        return Finished(0, self.user if is_user else "1234" * (command[1] == "create"), "")

    def put(self, tag: str, digest: str) -> None:
        repository = tag.rpartition(":")[0]
        image = Image(reference=f"{repository}@{digest}", tag=tag)
        self.registry |= {tag: image, f"{tag}@{digest}": image}

    def digest(self, tag: str) -> str:
        return self.registry[f"{REPOSITORY}:{tag}"].reference.partition("@")[2]


class Ground:
    """A project, its cluster, and what builds its image."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.engine = with_proxy(FakeEngine())
        self.engine.images["redis:8"] = Image(reference=f"redis@sha256:{'e' * 64}", tag="redis:8")
        self.docker = Docker(self.engine.images)

    def configure(self, *, replicas: int = 2, more: str = "") -> None:
        text = CONFIGURATION.format(replicas=replicas, more=more)
        (self.folder / "deploytool.toml").write_text(text)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code = run([*arguments, "--json"])
        return code, json.loads(self.capsys.readouterr().out)

    def ok(self, *arguments: str) -> dict[str, Any]:
        code, found = self.run(*arguments)
        assert code == 0, found
        data: dict[str, Any] = found["data"]
        return data

    def fails(self, *arguments: str) -> str:
        code, found = self.run(*arguments)
        assert code == 1, found
        return str(found["error"]["code"])

    def running(self) -> set[str]:
        return {t["ID"] for t in self.engine.tasks(**{"desired-state": ["running"]})}


@pytest.fixture
def ground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ground:
    made = Ground(tmp_path, capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deploytool.backends.open_backend", lambda config: Swarm(made.engine))
    monkeypatch.setattr(build_module, "stream", made.docker.stream)
    monkeypatch.setattr(build_module, "capture", made.docker.capture)
    monkeypatch.setattr(users, "capture", made.docker.capture)
    made.configure()
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY main.py .\n")
    (tmp_path / ".dockerignore").write_text("*\n!main.py\n")
    (tmp_path / "main.py").write_text("app = 1\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return made


# --- what is not changed is not built


def test_a_commit_that_changes_nothing_in_the_image_touches_nothing(ground: Ground) -> None:
    first = ground.ok("deploy")
    before = ground.running()
    (ground.folder / "README.md").write_text("Hello\n")
    (ground.folder / "untracked.txt").write_text("new\n")
    commit(ground.folder)
    assert ground.run("plan", "--exit-code")[0] == 0
    again = ground.ok("deploy")
    assert (again["changed"], again["images"]) == (False, first["images"])
    assert (ground.docker.builds, ground.running()) == (1, before)


def test_other_numbers_of_replicas_replace_none(ground: Ground) -> None:
    ground.configure(replicas=3)
    ground.ok("deploy")
    before = ground.running()
    ground.configure(replicas=2)
    (change,) = [c for c in ground.ok("plan")["changes"] if c["action"] != "keep"]
    assert [field["path"] for field in change["fields"]] == ["replicas"]
    ground.ok("deploy")
    assert ground.running() < before
    assert ground.docker.builds == 1


def test_the_commit_belongs_to_the_release(ground: Ground) -> None:
    ground.ok("deploy")
    (ground.folder / "main.py").write_text("app = 2\n")
    ground.ok("deploy")
    head = git(ground.folder, "rev-parse", "HEAD")
    found = ground.ok("releases")["releases"]
    assert [release["commit"] for release in found] == [f"{head}-dirty", head]
    run(["releases"])
    shown = ground.capsys.readouterr().out
    assert f"{head[:12]}-dirty" in shown
    assert head not in shown


def test_changed_code_is_built(ground: Ground) -> None:
    ground.ok("deploy")
    (ground.folder / "main.py").write_text("app = 2\n")
    assert ground.run("plan", "--exit-code")[0] == 5
    assert ground.ok("deploy")["release"] == "v2"
    (ground.folder / "main.py").write_text("app = 1\n")
    assert ground.ok("deploy")["release"] == "v3"
    assert ground.docker.builds == 2


def test_a_user_that_the_image_lacks_is_refused_before_anything_is_changed(
    ground: Ground,
) -> None:
    ground.docker.user = "app"
    before = list(ground.engine.changes)
    assert ground.fails("deploy") == "user_missing"
    ground.docker.user = "10001"
    ground.configure(more='user = "app"')
    assert ground.fails("deploy") == "user_missing"
    assert ground.engine.changes == before
    ground.configure(more='user = "root"')
    assert ground.ok("deploy")["release"] == "v1"
    assert ground.docker.builds == 1


def test_rebuild_builds_what_is_there(ground: Ground) -> None:
    """For what is outside of the project: a newer base image, newer packages."""
    ground.ok("deploy")
    assert ground.ok("deploy", "--rebuild")["release"] == "v2"
    assert ground.docker.builds == 2
    assert ground.ok("deploy")["changed"] is False


def test_changes_under_a_build_are_told(ground: Ground) -> None:
    ground.docker.during_build = lambda: (ground.folder / "main.py").write_text("app = 2\n")
    _, found = ground.run("deploy")
    (warning,) = [text for text in found["warnings"] if "Files changed while" in text]
    assert "deploy again" in warning
    assert ground.ok("deploy")["release"] == "v2"


# --- what can be known before the build


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ('secrets = ["TOKEN"]', "secret_missing"),
        ('networks = ["nowhere"]', "network_missing"),
        ('memory_limit = "512GiB"\nreplicas_ = 1', "config_invalid"),
        ('[services.cache]\nimage = "redis:9"', "image_missing"),
        ('placement.constraints = ["node.labels.disk == ssd"]', "no_suitable_node"),
        ('[services.big]\ncommand = ["x"]\nmemory = "512GiB"', "does_not_fit"),
    ],
)
def test_what_cannot_be_deployed_is_not_built(ground: Ground, more: str, code: str) -> None:
    for deployed in (False, True):
        ground.configure(more=more)
        status, found = ground.run("deploy")
        assert (status != 0, found["error"]["code"]) == (True, code)
        assert ground.docker.builds == deployed
        ground.configure()
        ground.ok("deploy")
        (ground.folder / "main.py").write_text("app = 2\n")


def test_a_registry_that_does_not_answer_is_told_before_the_build(ground: Ground) -> None:
    ground.engine.refuses["resolve"] = RegistryError("no", code="registry_unreachable")
    assert ground.fails("deploy") == "registry_unreachable"
    assert ground.docker.builds == 0


def test_a_registry_that_shows_nothing_is_built_for(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some say "denied" of what is not there yet."""
    resolve = FakeEngine.resolve

    def denied(self: FakeEngine, reference: str) -> Image:
        if "@" not in reference and reference not in self.images:
            raise RegistryError("denied", code="registry_denied")
        return resolve(self, reference)

    monkeypatch.setattr(FakeEngine, "resolve", denied)
    ground.ok("deploy")
    assert ground.docker.builds == 1


def fill(ground: Ground) -> None:
    """Leave no room for a replica beside the ones that run."""
    for node in ground.engine._nodes:
        node["Description"]["Resources"]["MemoryBytes"] = 192 << 20


def test_no_room_for_what_will_not_move_is_no_reason_not_to_build(ground: Ground) -> None:
    """Changed content may give the image that runs, and then nothing is replaced."""
    ground.configure(replicas=7)
    fill(ground)
    ground.ok("deploy")
    (ground.folder / "main.py").write_text("app = 2\n")
    assert ground.fails("deploy") == "does_not_fit"
    assert ground.docker.builds == 2
    ground.configure(replicas=9)
    (ground.folder / "main.py").write_text("app = 3\n")
    assert ground.fails("deploy") == "does_not_fit"
    assert ground.docker.builds == 2


def test_while_somebody_else_deploys_the_room_is_not_judged(ground: Ground) -> None:
    ground.configure(replicas=10)
    fill(ground)
    backend = Swarm(ground.engine)
    held: Lease = lease.lock(backend.store, "items", "ada@laptop", "deploy")
    code, found = ground.run("deploy", "--lock-timeout", "1ms")
    assert (code, found["error"]["code"]) == (1, "locked")
    assert ground.docker.builds == 1
    lease.unlock(backend.store, held)


def test_values_that_may_be_secret_are_shown_on_request_alone(ground: Ground) -> None:
    own = '{ GREETING = "correct horse", LEVEL = "info", DB_PASS = "hunter2" }'
    ground.configure(more=f'env = {own}\nlabels = {{ note = "battery staple" }}')

    def told(*arguments: str) -> dict[str, Any]:
        (change, *_) = ground.ok("plan", *arguments)["changes"]
        return {field["path"]: field["after"] for field in change["fields"]}

    hidden = told()
    assert hidden["env.LEVEL"] == "info"
    assert {hidden[path] for path in ("env.GREETING", "env.DB_PASS", "labels.note")} == {MASK}
    assert hidden["labels.traefik.http.routers.items_web.rule"] == "Host(`items.localhost`)"
    shown = told("--show-values")
    assert (shown["env.GREETING"], shown["labels.note"]) == ("correct horse", "battery staple")
    assert shown["env.DB_PASS"] == MASK
    deployed = json.dumps(ground.ok("deploy"), ensure_ascii=False)
    assert "correct horse" not in deployed
    assert "battery staple" not in deployed


def test_config_show_hides_what_plans_hide(ground: Ground) -> None:
    own_values = '{ GREETING = "correct horse", LEVEL = "info", DB_PASS = "hunter2" }'
    ground.configure(more=f'env = {own_values}\nlabels = {{ note = "battery staple" }}')
    keys = ("env.LEVEL", "env.GREETING", "labels.note", "env.DB_PASS")

    def told(*arguments: str) -> list[Any]:
        found = ground.ok("config", "show", *arguments)["settings"]
        settings = {setting["path"]: setting["value"] for setting in found}
        return [settings[f"services.web.{key}"] for key in keys]

    assert told() == ["info", MASK, MASK, MASK]
    assert told("--show-values") == ["info", "correct horse", "battery staple", MASK]


# --- the tag `latest`


def test_latest_is_the_image_of_the_last_release_that_is_done(ground: Ground) -> None:
    first = ground.ok("deploy")
    assert f"{REPOSITORY}@{ground.docker.digest('latest')}" == first["images"]["web"]
    (ground.folder / "main.py").write_text("app = 2\n")
    second = ground.ok("deploy")
    assert f"{REPOSITORY}@{ground.docker.digest('latest')}" == second["images"]["web"]
    ground.ok("rollback", "--yes")
    assert f"{REPOSITORY}@{ground.docker.digest('latest')}" == first["images"]["web"]


def test_no_leaves_latest_where_it_was(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.ok("deploy")
    before = ground.docker.digest("latest")
    monkeypatch.setattr("deploytool.output.Output.confirm", lambda self, question: False)
    (ground.folder / "main.py").write_text("app = 2\n")
    assert ground.fails("deploy") == "declined"
    assert ground.docker.digest("latest") == before


def test_building_and_pushing_is_no_release(ground: Ground) -> None:
    ground.ok("build", "--push")
    assert f"{REPOSITORY}:latest" not in ground.docker.registry


def test_a_release_that_nobody_waits_for_moves_latest_with_the_next_deploy(ground: Ground) -> None:
    ground.ok("deploy", "--no-wait")
    assert f"{REPOSITORY}:latest" not in ground.docker.registry
    ground.ok("deploy")
    assert ground.docker.digest("latest")


def test_a_ready_image_of_the_app_moves_latest_and_another_does_not(ground: Ground) -> None:
    ground.ok("build", "--push")
    (tag,) = [ref for ref in ground.docker.registry if ref.count(":") == 1 and "tree-" in ref]
    ground.ok("deploy", "--image", tag)
    assert ground.docker.digest("latest") == ground.docker.digest(tag.rpartition(":")[2])
    before = ground.docker.digest("latest")
    ground.ok("deploy", "--image", "redis:8")
    assert ground.docker.digest("latest") == before


def test_latest_that_cannot_be_moved_is_no_failure(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ground.docker.__class__,
        "capture",
        lambda self, command, *, env: Finished(1, "", "denied: no"),
    )
    monkeypatch.setattr(build_module, "capture", ground.docker.capture)
    code, found = ground.run("deploy")
    assert code == 0
    (warning,) = [text for text in found["warnings"] if "latest" in text]
    assert warning.startswith(f"{REPOSITORY}:latest was not moved: ")
