"""The tag of an image: equal for equal content, whoever builds it and from whichever commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploytool.config import BuildSettings
from deploytool.image.content import Content, without_settings
from deploytool.render import RENDERED
from tests.unit.test_git import commit, git

DECLARES = "FROM scratch\nARG VOLUMES\nCOPY . /code/\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DECLARES)
    (folder / "main.py").write_text("app = 1\n")
    (folder / "data" / "a.txt").write_text("a")
    (folder / "link").symlink_to("main.py")
    return folder


def tag(project: Path, volumes: tuple[str, ...] = (), **settings: Any) -> str:
    return Content(project, BuildSettings(**settings), volumes).tag


def write(project: Path, name: str, text: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)


def test_a_tag_can_be_read_out(project: Path) -> None:
    assert re.fullmatch("tree-[0-9a-f]{12}", tag(project))


def test_another_copy_has_the_same_tag(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-R", project, copy], check=True)
    os.utime(copy / "main.py", (1, 1))
    for folder, umask in ((project, 0o022), (copy, 0o002)):
        (folder / "main.py").chmod(0o666 & ~umask)
    assert tag(copy) == tag(project)


def test_every_kind_of_change_counts(project: Path) -> None:
    tags = [tag(project)]

    def changed() -> None:
        tags.append(tag(project))

    write(project, "main.py", "app = 2\n")
    changed()
    (project / "main.py").chmod(0o755)
    changed()
    (project / "main.py").chmod(0o750)  # another user in the container cannot read it
    changed()
    (project / "link").unlink()
    (project / "link").symlink_to("data")
    changed()
    (project / "data" / "a.txt").rename(project / "data" / "b.txt")
    changed()
    (project / "data" / "b.txt").unlink()
    changed()
    (project / "data").rmdir()
    changed()
    (project / "näw \n.txt").write_text("new")
    changed()
    Path(os.fsdecode(os.fsencode(project) + b"/\xff.bin")).write_text("no utf-8 name")
    changed()
    os.mkfifo(project / "pipe")
    changed()
    write(project, "Dockerfile", DECLARES + "USER 1\n")
    changed()
    assert len(set(tags)) == len(tags)


OTHERS = ("notes.txt", "data/new.txt", "tests/test_app.py", "main.pyi")


@pytest.mark.parametrize(
    ("copies", "counts"),
    [
        ("COPY main.py /code/", []),
        ("COPY main.py data /code/", ["data/new.txt"]),
        ("COPY ./data/ /code/\nADD *.txt /", ["notes.txt", "data/new.txt"]),
        (
            'COPY ["main.py", "/code/"]\nRUN --mount=type=cache,target=/x --mount=type=ssh a',
            [],
        ),
        ("COPY --from=uv /uv /bin/\nCOPY main.py .\nRUN --mount=type=bind,from=uv,target=/x a", []),
        # What cannot be known from the Dockerfile counts.
        ("", OTHERS),
        ("COPY --from=uv /uv /bin/", OTHERS),
        ("COPY . .", OTHERS),
        ("COPY --exclude=*.txt . .", OTHERS),
        ("ARG A=main.py\nCOPY $A /code/", OTHERS),
        ("COPY main.py .\nRUN --mount=target=/src --mount=type=cache,target=/x make", OTHERS),
        ("COPY link .", OTHERS),
        ("COPY main.py linked/a.txt .", OTHERS),
        ("COPY lin? .", OTHERS),
    ],
)
def test_what_the_dockerfile_does_not_copy_does_not_count(
    project: Path, copies: str, counts: Sequence[str]
) -> None:
    """With git and without. The commit of what runs is not called changed for it either."""
    write(project, "Dockerfile", f"FROM scratch AS uv\nFROM scratch\n{copies}\n")
    (project / "linked").symlink_to("data")
    first = tag(project)
    for name in OTHERS:
        content = Content(project, BuildSettings())
        assert content.takes(project.resolve() / name) is (name in counts), name
        write(project, name, "one")
        assert (tag(project) != first) is (name in counts), name
        (project / name).unlink()
        if name == "tests/test_app.py":
            (project / "tests").rmdir()
    write(project, "main.py", "app = 2\n")
    is_copied = "main.py" in copies or bool(counts == OTHERS)
    assert (tag(project) != first) is is_copied


def test_what_is_in_one_file_is_not_in_the_next(project: Path) -> None:
    write(project, "x", "ab")
    write(project, "xa", "b")
    first = tag(project)
    write(project, "x", "abb")
    write(project, "xa", "")
    assert tag(project) != first


def test_every_setting_of_the_build_counts(project: Path) -> None:
    write(project, "other/Dockerfile", "FROM scratch\n")
    tags = {
        tag(project),
        tag(project, args={"A": "1"}),
        tag(project, args={"A": "2"}),
        tag(project, args={"A": "1", "B": ""}),
        tag(project, target="web"),
        tag(project, platforms=("linux/riscv64",)),
        tag(project, platforms=("linux/riscv64", "linux/s390x")),
        tag(project, volumes=("/data",)),
        tag(project, dockerfile="other/Dockerfile"),
        tag(project, context="data"),
    }
    assert len(tags) == 10


def test_the_machines_platform_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that somebody built on a laptop of another kind does not run on the cluster."""
    monkeypatch.delenv("DOCKER_DEFAULT_PLATFORM", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    amd64 = tag(project)
    assert amd64 == tag(project, platforms=("linux/amd64",))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert tag(project) != amd64
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    assert tag(project) == amd64


def test_volumes_that_the_dockerfile_does_not_declare_do_not_count(project: Path) -> None:
    write(project, "Dockerfile", "FROM scratch\n")
    assert tag(project, volumes=("/data",)) == tag(project)


@pytest.mark.parametrize(
    "name",
    [
        "deploytool.toml",
        "notes.txt",
        "stacks/items.yml",
        ".git/index",
        "code/__pycache__/main.pyc",
        ".venv/lib/site.py",
        "code/secret.env",
    ],
)
def test_what_dockerignore_keeps_out_does_not_count(project: Path, name: str) -> None:
    write(project, ".dockerignore", "*\n!code\n!main.py\n**/*.env\n")
    write(project, "code/app.py", "")
    first = tag(project)
    write(project, name, "one")
    assert tag(project) == first
    write(project, name, "two")
    assert tag(project) == first
    write(project, "code/app.py", "changed")
    assert tag(project) != first


@pytest.mark.parametrize(
    ("ignore", "name"),
    [
        ("*\n!a/b/c.py\n", "a/b/c.py"),
        ("*\n!**/c.py\n", "a/b/c.py"),
        ("a\n!a/*/c.py\n", "a/b/c.py"),
        ("**/b\n!a/b\n", "a/b/c.py"),
    ],
)
def test_what_is_let_in_below_a_hidden_folder_counts(project: Path, ignore: str, name: str) -> None:
    write(project, ".dockerignore", ignore)
    write(project, name, "one")
    first = tag(project)
    write(project, name, "two")
    assert tag(project) != first
    changed = tag(project)
    write(project, "a/b/d.py", "hidden")
    assert (tag(project) == changed) is ("!a/b\n" not in ignore)


def test_a_dockerignore_beside_the_dockerfile_comes_first(project: Path) -> None:
    write(project, ".dockerignore", "*\n")
    write(project, "Dockerfile.dockerignore", "data\n")
    first = tag(project)
    write(project, "data/a.txt", "hidden")
    assert tag(project) == first
    write(project, "main.py", "let in")
    assert tag(project) != first


def test_deploytools_own_files_do_not_count_wherever_they_are_copied(project: Path) -> None:
    """Else other numbers of replicas would be another image where the Dockerfile copies all."""
    write(project, "Dockerfile", "FROM scratch\nCOPY . .\n")
    write(project, "stacks/own.yml", "services: {}\n")
    write(project, "pyproject.toml", '[project]\nname = "items"\n')
    write(project, "deploytool.toml", "app = 'items'\n")
    write(project, "stacks/items.yml", f"# items: {RENDERED.decode()}; change that\nreplicas: 3\n")
    first = tag(project)
    write(project, "deploytool.toml", "app = 'items'\nservices.web.replicas = 2\n")
    write(project, "stacks/items.yml", f"# items: {RENDERED.decode()}; change that\nreplicas: 2\n")
    write(
        project,
        "pyproject.toml",
        '[project]\nname = "items"\n[tool.deploytool]\napp = "items"\n'
        "[tool.deploytool.services.web]\nreplicas = 2\n",
    )
    assert tag(project) == first
    write(project, "stacks/own.yml", "services: {web: {}}\n")
    assert tag(project) != first
    second = tag(project)
    write(project, "pyproject.toml", '[project]\nname = "others"\n')
    assert tag(project) != second


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a = 1\n", "a = 1\n"),
        ("[tool.deploytool]\na = 1\n[tool.ruff]\nb = 2\n", "[tool.ruff]\nb = 2\n"),
        ("[a]\n[tool.deploytool]\n[[tool.deploytool.x]]\nb = 1\n# end\n", "[a]\n"),
        ("[ tool . deploytool ]\nb = 1\n[a]\n", "[a]\n"),
        ("[tool.deploytools]\na = 1\n", None),
        ("[tool]\ndeploytool.app = 1\n", None),
        ('[a]\nb = """\n[tool.deploytool]\n"""\n', None),
        ("[tool.deploytool]\nb = [\n[1]\n]\nc = 1\n", None),
        ("[tool.deploytool]\nno toml", None),
        ("[tool.deploytool]\nb = '\xff'\n", ""),
    ],
)
def test_pyproject_without_settings(text: str, expected: str | None) -> None:
    """What cannot be told apart stays: at worst an image is built that is there already."""
    assert without_settings(text.encode()).decode() == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("dockerfile", "counts"),
    [
        ("FROM scratch\nCOPY main.py .\n", False),
        ("FROM scratch\nCOPY . .\n", True),
        ("FROM scratch\nCOPY .git .git\n", True),
        ("ARG FROM=.\nFROM scratch\nCOPY $FROM .\n", True),
        ("FROM scratch\nRUN --mount=type=bind,target=/src pip install /src\n", True),
    ],
)
def test_the_repository_counts_where_the_build_may_read_it(
    project: Path, dockerfile: str, counts: bool
) -> None:
    """By what it says of the code: the version of a package may come from its tags."""
    write(project, "Dockerfile", dockerfile)
    git(project, "init", "--quiet")
    commit(project)
    first = tag(project)
    git(project, "update-index", "--refresh")
    (project / ".git" / "FETCH_HEAD").write_text("")
    assert tag(project) == first
    git(project, "tag", "v1")
    assert (tag(project) != first) is counts
    second = tag(project)
    commit(project)
    assert (tag(project) != second) is counts


def test_nothing_to_build_from_is_no_error_here(tmp_path: Path) -> None:
    assert tag(tmp_path, context="nowhere", dockerfile="none").startswith("tree-")


OTHER_STAGE = "FROM scratch AS other\nCOPY data /data\n"


@pytest.mark.parametrize(
    ("dockerfile", "target", "counts"),
    [
        (f"{OTHER_STAGE}FROM scratch\nCOPY main.py .\n", None, False),
        (f"{OTHER_STAGE}FROM scratch\nCOPY main.py .\n", "other", True),
        (f"{OTHER_STAGE}FROM scratch\nCOPY main.py .\n", "0", True),
        (f"{OTHER_STAGE}FROM other\nCOPY main.py .\n", None, True),
        (f"{OTHER_STAGE}FROM scratch\nCOPY --from=other /data .\nCOPY main.py .\n", None, True),
        (f"{OTHER_STAGE}FROM scratch\nCOPY --from=0 /data .\nCOPY main.py .\n", None, True),
        (
            f"{OTHER_STAGE}FROM scratch\nCOPY main.py .\n"
            "RUN --mount=type=bind,from=other,target=/data cp -R /data /d\n",
            None,
            True,
        ),
        (f"ARG B=scratch\n{OTHER_STAGE}FROM $B\nCOPY main.py .\n", None, True),
        (f"ARG B=scratch\n{OTHER_STAGE}FROM \\\n  $B\nCOPY main.py .\n", None, True),
        (f"FROM scratch AS app\nCOPY main.py .\n{OTHER_STAGE}", "app", False),
    ],
)
def test_only_stages_that_the_target_needs_count(
    project: Path, dockerfile: str, target: str | None, counts: bool
) -> None:
    write(project, "Dockerfile", dockerfile)
    before = tag(project, target=target)
    write(project, "data/a.txt", "b")
    assert (tag(project, target=target) != before) is counts
