"""Every project of the corpus goes the whole way: `init`, the advice if there is any, `deploy`, a
request through the proxy."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpus.projects import (
    FIXED,
    CorpusProject,
    all_projects,
    check_files,
    check_sayings,
    nothing_said,
    sayings,
    written_configuration,
)
from tests.lab import Lab
from tests.lab.cache import locked
from tests.lab.lab import number, provide
from tests.live.conftest import Project, Ran

QUICK = {
    "DEPLOYTOOL_SERVICES__WEB__UPDATE__MONITOR": "1s",
    "DEPLOYTOOL_SERVICES__WEB__UPDATE__PARALLELISM": "2",
    "DEPLOYTOOL_SERVICES__WEB__RESTART__DELAY": "1s",
    "DEPLOYTOOL_SERVICES__WEB__DRAIN": "0s",
}
ANSWERS_WITHIN = 20
"""seconds from the end of a deploy to the first answer through the proxy"""


def parameters() -> list[object]:
    return [
        pytest.param(
            project,
            id=project.name,
            marks=[pytest.mark.corpus, *([] if project.expected.core else [pytest.mark.thorough])],
        )
        for project in all_projects()
        if project.expected.build
    ]


@pytest.fixture
def deployable(
    corpus_project: CorpusProject,
    lab: Lab,
    lab_env: dict[str, str],
    tmp_path: Path,
    removals: list[subprocess.Popen[str]],
) -> Iterator[Project]:
    """A copy of a project of the corpus, removed from the cluster afterwards while the next test
    runs."""
    expected = corpus_project.expected
    provide_python(lab, expected.python)
    # All replicas where the image was built: a volume is its node's own, and nothing is pulled.
    constraint = f'["node.hostname=={lab.manager.name}"]'
    env = lab_env | QUICK | {"DEPLOYTOOL_SERVICES__WEB__PLACEMENT__CONSTRAINTS": constraint}
    env |= {f"DEPLOYTOOL_SERVICES__WEB__ENV__{name}": text for name, text in expected.env.items()}
    app = f"corpus-{corpus_project.name}"
    made = Project(corpus_project.copy(tmp_path / corpus_project.name), app, lab, env)
    yield made
    if written_configuration(made.folder):
        removals.append(made.start("destroy", "--yes", "--volumes"))


def provide_python(lab: Lab, version: str) -> None:
    """A stand-in, under the name of its patch release too where a project names that."""
    major, minor, *patch = version.split(".")
    image = f"python:{major}.{minor}-slim"
    with locked(f"{image}-{number()}"):
        provide(lab.manager, image)
        if patch:
            lab.manager.docker("tag", image, f"python:{version}-slim")


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("corpus_project", parameters())
def test_init_and_deploy(corpus_project: CorpusProject, deployable: Project) -> None:
    expected = corpus_project.expected
    kept = (deployable.folder / "Dockerfile").exists() and not expected.again
    first = init(deployable, *expected.init)
    assert (first.code == 2) is expected.refused, first.stdout + first.stderr
    check_sayings(expected, sayings(first.code, first.stdout))
    if expected.result == "said":
        follow(corpus_project, deployable)
    check_files(expected, deployable.folder)
    if not kept:
        has_no_errors(deployable)
    deploys(deployable)
    answers(corpus_project, deployable)


def init(project: Project, *options: str) -> Ran:
    return project.run("init", "--app", project.app, "--registry", project.lab.registry, *options)


def follow(corpus_project: CorpusProject, project: Project) -> None:
    """Do what `init` advised: then it says that no more."""
    expected = corpus_project.expected
    corpus_project.overlay(FIXED, project.folder)
    project.folder /= expected.folder
    again = init(project, *expected.again_with())
    assert again.code == 0, again.stdout + again.stderr
    nothing_said(expected.says, sayings(again.code, again.stdout))


def has_no_errors(project: Project) -> None:
    """What `init` wrote is as `lint` wants it, without the values that the test adds to it."""
    written = {name: text for name, text in project.env.items() if "__ENV__" not in name}
    findings = replace(project, env=written).run("lint").data["findings"]
    assert not [finding for finding in findings if finding["severity"] == "error"]


def deploys(project: Project) -> None:
    ran = project.run("deploy", "--yes", "--timeout", "90s")
    assert ran.code == 0, ran.stderr + ran.stdout


def answers(corpus_project: CorpusProject, project: Project) -> None:
    expected = corpus_project.expected
    body = answer(project, expected.get, expected.status)
    assert re.search(expected.body, body), body
    if expected.post:
        status, _, stored = project.request("POST", expected.post)
        assert status < 300, stored
        assert re.search(expected.kept, answer(project, expected.get, expected.status))
        project.ok("restart")
        assert re.search(expected.kept, answer(project, expected.get, expected.status))


def answer(project: Project, path: str, status: int) -> str:
    """The body, once the proxy has noticed the replicas."""
    deadline = time.monotonic() + ANSWERS_WITHIN
    found, _, body = project.get(path)
    while found != status and time.monotonic() < deadline:
        time.sleep(0.2)
        found, _, body = project.get(path)
    assert found == status, f"{path} answers {found}: {body}"
    return body
