"""`init` for Nomad: what it writes deploys on both clusters, and differs in a word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends import kind_of
from deploytool.config import load
from deploytool.spec import Backend
from tests.corpus.projects import CorpusProject, all_projects

APP = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/health')\ndef h(): ...\n"
WRITTEN = [
    project
    for project in all_projects()
    if not project.expected.asks_index and not project.expected.refused
]


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploytool.discover.dependencies.index.find_uv", lambda: "/nonexistent/uv")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "main.py").write_text(APP)
    (folder / "requirements.txt").write_text("fastapi[standard]\n")
    monkeypatch.chdir(folder)
    return folder


def init(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    code = run(["init", "--offline", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_a_job_is_written_and_no_stack(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = init(capsys, "--backend", "nomad")
    assert code == 0
    assert found["data"]["backend"] == "nomad"
    assert [file["path"] for file in found["data"]["files"]] == [
        "deploytool.toml",
        "Dockerfile",
        ".dockerignore",
        "nomad/shop.nomad.hcl",
    ]
    assert 'backend = "nomad"' in (project / "deploytool.toml").read_text()
    assert "cpu_limit" not in (project / "deploytool.toml").read_text()
    assert not (project / "stacks").exists()
    assert run(["render", "--check"]) == 0


def test_next_is_the_cluster_that_is_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.exists()
    assert run(["init", "--offline", "--backend", "nomad"]) == 0
    assert "`deploytool doctor`, which asks the cluster of NOMAD_ADDR" in capsys.readouterr().out


def test_again_it_goes_by_the_configuration(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(capsys, "--backend", "nomad")
    before = (project / "deploytool.toml").read_text()
    code, found = init(capsys)
    assert (code, found["data"]["backend"], found["warnings"]) == (0, "nomad", [])
    code, found = init(capsys, "--backend", "swarm")
    assert (code, found["data"]["backend"]) == (0, "nomad")
    (warning,) = found["warnings"]
    assert warning.startswith('the configuration that is there says backend = "nomad", and is kept')
    assert (project / "deploytool.toml").read_text() == before


def test_a_configuration_that_nomad_refuses_is_said_with_a_way_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "deploytool.toml").write_text(
        'app = "shop"\nbackend = "nomad"\n[services.web]\nport = 8000\nnetworks = ["shared"]\n'
    )
    code, found = init(capsys)
    assert (code, found["error"]["code"]) == (2, "config_invalid")
    (detail,) = found["error"]["details"]
    assert detail.startswith("services.web.networks: Nomad has no networks to attach to (leave it")
    assert not (project / "nomad").exists()


@pytest.mark.parametrize("folder", WRITTEN, ids=lambda project: project.name)
def test_one_word_changes_the_cluster(
    folder: CorpusProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written for a Swarm is refused in nothing on Nomad, and the other way round."""
    for asked, other in (("swarm", "nomad"), ("nomad", "swarm")):
        copy = folder.copy(tmp_path / asked / folder.name)
        code, said = init(capsys, str(copy), "--backend", asked, *folder.expected.init)
        assert code == 0, said
        for word in (asked, other):
            change_word(copy, word)
            loaded = load(copy, environ={})
            app, kind = loaded.app_spec(), kind_of(Backend(word))
            assert kind.refused(app) == []
            assert kind.render(app, loaded.config, loaded.files, as_json=False)
            passed_over = {problem.path.rpartition(".")[2] for problem in kind.without_effect(app)}
            assert passed_over <= {"cpu_limit"}


def change_word(project: Path, backend: str) -> None:
    file = load(project, environ={}).file
    text, count = re.subn(
        r'^backend = "\w+"$', f'backend = "{backend}"', file.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    file.write_text(text)


def test_volumes_are_for_clients_that_allow_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "main.py").write_text(
        f"import sqlite3\nconnection = sqlite3.connect('data/shop.db')\n{APP}"
    )
    _, found = init(capsys, "--backend", "nomad")
    assert any("volumes.enabled" in warning for warning in found["warnings"])
