"""What `init` says and writes for every project of the corpus; tests/live/test_corpus.py builds
and starts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploytool.__main__ import run
from tests.corpus.projects import (
    ADDED,
    EXPECT,
    FIXED,
    FOLDER,
    CorpusProject,
    Expected,
    all_projects,
    check_files,
    check_sayings,
    nothing_said,
    sayings,
)

PROJECTS = [project for project in all_projects() if not project.expected.asks_index]


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploytool.discover.dependencies.index.find_uv", lambda: "/nonexistent/uv")


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_init(
    project: CorpusProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = project.expected
    folder = project.copy(tmp_path / project.name)
    code, said = init(folder, capsys, *expected.init)
    assert code == (2 if expected.refused else 0), said
    check_sayings(expected, said)
    if project.can_be_followed:
        project.overlay(FIXED, folder)
        folder /= expected.folder
        code, said = init(folder, capsys, *expected.again_with())
        assert code == 0, said
        nothing_said(expected.says, said)
    check_files(expected, folder)
    project.overlay(ADDED, folder)
    monkeypatch.chdir(folder)
    check_findings(expected, capsys)


def init(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    code = run(["init", str(folder), "--json", "--offline", *options])
    return code, sayings(code, capsys.readouterr().out)


def check_findings(expected: Expected, capsys: pytest.CaptureFixture[str]) -> None:
    """What `lint` has to find in the working folder, and what not."""
    if not (expected.lints or expected.lints_not):
        return
    run(["lint", "--json"])
    findings = json.loads(capsys.readouterr().out)["data"]["findings"]
    rules = {finding["rule"] for finding in findings}
    assert rules >= set(expected.lints)
    nothing_said(expected.lints_not, rules)


def test_every_folder_is_a_project() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {project.name for project in all_projects()}, f"each has its {EXPECT}"


def test_there_are_at_least_forty_kinds() -> None:
    kinds = {project.expected.kind for project in all_projects()}
    assert len(kinds) >= 40
    assert len(kinds) == len(all_projects())


def test_what_is_only_said_is_refused_or_has_what_whoever_follows_it_writes() -> None:
    for project in all_projects():
        expected = project.expected
        if expected.result == "said":
            assert expected.says, project.name
            assert project.can_be_followed, project.name
        assert expected.result != "needs" or expected.env, project.name
