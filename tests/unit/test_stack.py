"""AppSpec → stack file: readable, complete, the same bytes for the same app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from deploytool.__main__ import run
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification import stack
from deploytool.config import load
from deploytool.render import files
from deploytool.spec import AppSpec, Service
from deploytool.writing import write_whole
from tests import parity
from tests.builders import app, images, maximal_app, proxy, service, worker
from tests.strategies import apps, quick

PROJECT = Path(__file__).parents[2]


class StackFile(SingleFileSnapshotExtension):
    file_extension = "yml"
    _write_mode = WriteMode.TEXT


def example_app() -> AppSpec:
    return load(PROJECT, environ={}).app_spec()


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(example_app(), id="example"),
        pytest.param(maximal_app(), id="every-key"),
        pytest.param(app(worker()), id="worker-only"),
        pytest.param(app(worker(mode="global")), id="global"),
        pytest.param(proxy(), id="proxy"),
    ],
)
def test_rendered(spec: AppSpec, snapshot: SnapshotAssertion) -> None:
    assert stack.render(spec) == snapshot(extension_class=StackFile)


@quick
@given(apps())
def test_same_app_same_bytes_whatever_the_order_of_its_services(spec: AppSpec) -> None:
    text = stack.render(spec)
    assert stack.render(AppSpec.model_validate_json(spec.model_dump_json())) == text
    turned = spec.model_copy(update={"services": spec.services[::-1]})
    assert stack.render(turned) == text


@quick
@given(apps())
@example(maximal_app())
def test_file_and_compiler_say_the_same(spec: AppSpec) -> None:
    document = parity.unescaped(yaml.safe_load(stack.render(spec)))
    chosen = images(spec)
    for one in spec.services:
        compiled = swarm.service_spec(spec, one, chosen[one.name], None)
        of_stack = parity.of_stack(document, one.name, spec.name)
        assert of_stack == parity.of_engine(compiled, spec.name)


def rendered(one: Service) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(stack.render(app(one)))["services"][one.name]
    return found


def test_dollars_are_kept_from_interpolation_everywhere() -> None:
    found = rendered(
        service(
            command=["sh", "-c", "echo $HOME"],
            env={"PRICE": "$5"},
            labels={"a": "${b}"},
            user="$user",
            volumes=["/srv/$x:/data/$y"],
            placement={"constraints": ["node.labels.a == $b"]},
            healthcheck={"command": ["test", "$ok"]},
        )
    )
    assert found["command"][-1] == "echo $$HOME"
    assert found["environment"]["PRICE"] == "$$5"
    assert found["deploy"]["labels"]["a"] == "$${b}"
    assert found["user"] == "$$user"
    assert (found["volumes"][0]["source"], found["volumes"][0]["target"]) == (
        "/srv/$$x",
        "/data/$$y",
    )
    assert found["deploy"]["placement"]["constraints"] == ["node.labels.a == $$b"]
    assert found["healthcheck"]["test"][-1] == "$$ok"


def test_only_the_image_of_the_app_is_left_open() -> None:
    assert rendered(service())["image"] == "${IMAGE:-registry.example.com/team/items:latest}"
    assert rendered(Service(name="cache", image="redis:8"))["image"] == "redis:8"


@pytest.mark.parametrize("text", ["1e3", "0o7", "08", "=", "yes", "null", "1:30", "-1", ".5", ""])
def test_text_that_a_reader_could_take_for_something_else_is_quoted(text: str) -> None:
    assert f"- '{text}'" in stack.render(app(service(command=["x", text], drain="2s")))


def test_line_breaks_stay_on_one_line() -> None:
    assert r'X: "a\n\n b\t"' in stack.render(app(service(env={"X": "a\n\n b\t"})))


def test_secret_values_are_not_in_it() -> None:
    text = stack.render(app(service(secrets=["DATABASE_URL"])))
    assert "name: ${SECRET_DATABASE_URL:-items_DATABASE_URL}" in text
    assert "external: true" in text


def test_header_says_how_it_was_made_and_how_it_is_used() -> None:
    first, second = stack.render(maximal_app()).splitlines()[:2]
    assert "for production" in first
    assert "docker stack deploy --compose-file stacks/items.production.yml items" in second


def test_diff_and_write(tmp_path: Path) -> None:
    file = files.RenderedFile(Path(stack.path(app())), stack.render(app()))
    assert files.diff(tmp_path, file)[0] == "--- stacks/items.yml (on disk)"
    write_whole(tmp_path, str(file.path), file.text)
    assert files.diff(tmp_path, file) == []
    assert (tmp_path / "stacks/items.yml").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "stacks").iterdir()] == ["items.yml"]
    (tmp_path / "stacks/items.yml").write_text(file.text.replace("replicas: 1", "replicas: 2"))
    assert "-      replicas: 2" in files.diff(tmp_path, file)


@pytest.mark.parametrize(
    "command",
    ["render", "proxy render", "render --backend nomad", "proxy render --backend nomad"],
)
def test_this_repository_has_the_files_that_are_rendered(command: str) -> None:
    """What is committed in stacks/ and nomad/ is what the configuration says."""
    root = Path(__file__).parents[2]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DEPLOYTOOL_")}
    arguments = [sys.executable, "-m", "deploytool", *command.split(), "--check"]
    done = subprocess.run(arguments, cwd=root, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_short_names_that_docker_stack_deploy_adds_are_told() -> None:
    spec = app(service(networks=["backbone"]), worker())
    (warning,) = stack.warnings(spec)
    assert warning.endswith("web on backbone, web on deploytool-proxy")
    assert f"# {warning}\n" in stack.render(spec)
    assert stack.warnings(app(worker())) == []


@pytest.mark.parametrize("command", [("render",), ("proxy", "render")])
def test_render_warns_of_what_docker_stack_deploy_adds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    (tmp_path / "deploytool.toml").write_text(
        'app = "items"\nentrypoint = "app.main:app"\n[services.web]\nport = 8000\n'
    )
    monkeypatch.chdir(tmp_path)
    assert run([*command, "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.startswith("docker stack deploy gives services their short names")


def test_no_health_check_at_all() -> None:
    text = yaml.safe_load(stack.render(app(worker(healthcheck=False))))
    assert text["services"]["worker"]["healthcheck"] == {"disable": True}
