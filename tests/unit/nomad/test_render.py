"""`render` for Nomad: files, JSON, what is stale, what somebody wrote by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run

CONFIG = """\
app = "items"
backend = "nomad"
entrypoint = "app.main:app"
[services.web]
port = 8000
cpu_limit = 2.0
files = { "/code/a.yml" = "a.yml" }
[nomad]
namespace = "shop"
[environments.staging.services.web]
replicas = 2
"""
JOB = Path("nomad/items.nomad.hcl")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "deploytool.toml").write_text(CONFIG)
    (tmp_path / "a.yml").write_text("a: {{ b }}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["render", *arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_writes_the_job_and_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys)[1]["data"] == {"files": [str(JOB)], "changed": [str(JOB)]}
    text = JOB.read_text()
    assert text.startswith("# items: rendered by deploytool")
    assert 'job "items" {' in text
    assert "a: {{ b }}" in text
    code, again = ran(capsys, "--check")
    assert (code, again["data"]["changed"]) == (0, [])


def test_says_what_has_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    (warning,) = ran(capsys)[1]["warnings"]
    assert warning.startswith("services.web.cpu_limit has no effect on Nomad")


def test_a_stale_file_fails(capsys: pytest.CaptureFixture[str]) -> None:
    ran(capsys)
    JOB.write_text(JOB.read_text().replace("count = 1", "count = 2"))
    code, found = ran(capsys, "--check")
    assert (code, found["error"]["code"]) == (1, "stale")


def test_a_diff_shows_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("deploytool.toml").open("a") as file:
        file.write('[services.web.env]\nDB_PASS = "hunter2"\n')
    ran(capsys)
    JOB.write_text(JOB.read_text().replace("hunter2", "hunter1"))
    assert run(["render", "--check"]) == 1
    shown = capsys.readouterr()
    assert "DB_PASS" in shown.out + shown.err
    assert "hunter" not in shown.out + shown.err


def test_each_environment_has_its_own_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "--env", "staging")[1]["data"]["files"] == ["nomad/items.staging.nomad.hcl"]


def test_prints_the_json_that_is_submitted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "--format", "json", "--stdout"]) == 0
    job = json.loads(capsys.readouterr().out)["Job"]
    assert (job["ID"], job["Namespace"]) == ("items", "shop")
    assert not Path("nomad").exists()


def test_prints_the_hcl(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "--stdout"]) == 0
    printed = capsys.readouterr().out
    ran(capsys)
    assert printed == JOB.read_text()


def test_what_somebody_wrote_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    JOB.parent.mkdir()
    JOB.write_text('job "items" {\n}\n')
    code, found = ran(capsys)
    assert (code, found["error"]["code"]) == (2, "not_rendered")
    assert JOB.read_text() == 'job "items" {\n}\n'


def test_one_replica_on_each_node_is_refused_with_a_way_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.partition("[environments")[0].replace("port =", 'mode = "global"\nport =')
    (project / "deploytool.toml").write_text(text)
    code, found = ran(capsys)
    assert (code, found["error"]["code"]) == (2, "config_invalid")
    (told,) = found["error"]["details"]
    assert told.startswith("services.web.mode: one replica on each node is a job of type system")
    assert "placement.max_per_node = 1" in told


def test_what_nomad_cannot_do_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "deploytool.toml").write_text(CONFIG.replace("port =", 'networks = ["a"]\nport ='))
    code, found = ran(capsys)
    assert (code, found["error"]["code"]) == (2, "config_invalid")
    assert not Path("nomad").exists()
