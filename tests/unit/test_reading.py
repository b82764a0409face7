"""Files that a project names: none hangs, fills the memory, or is somewhere else on the machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import FrameType

import pytest

from deploytool import lint
from deploytool.backends.nomad.api.connection import connection
from deploytool.config import load
from deploytool.config.nomad import NomadSettings
from deploytool.discover.source import Project
from deploytool.errors import ConfigError, DeploytoolError, UsageError
from deploytool.init import Fate, FileWrite, write
from deploytool.lint import dockerignore
from deploytool.reading import LARGEST_TEXT, MIB, read_file
from deploytool.render.files import RenderedFile, diff
from deploytool.secrets.values import Request, read
from deploytool.writing import write_whole

CONFIG = 'app = "items"\n[services.web]\ncommand = ["x"]\nfiles = { "/a" = "conf/a" }\n'


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """What hangs is a failure after some seconds."""

    def give_up(_: int, __: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    """Without taking room on the disk."""
    with path.open("wb") as file:
        file.truncate(100 * MIB)


def elsewhere(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def refusal(project: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(project, environ={}).app_spec()
    return "\n".join(caught.value.details)


Make = Callable[[Path], None]
STRANGE = [fifo, endless, huge]


@pytest.mark.parametrize("make", STRANGE)
def test_what_has_no_end_is_not_read(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(OSError, match=r"no regular file|larger than 1 MiB"):
        read_file(tmp_path / "a", limit=MIB)


def test_as_much_as_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert len(read_file(tmp_path / "a", limit=10)) == 10
    with pytest.raises(OSError, match="larger than"):
        read_file(tmp_path / "a", limit=9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (fifo, "cannot be read: it is no regular file"),
        (endless, "cannot be read: it leads out of the project"),
        (elsewhere, "cannot be read: it leads out of the project"),
        (huge, "is too large: a cluster keeps files of less than 500 KiB"),
    ],
)
def test_configuration_files_of_services(make: Make, words: str, tmp_path: Path) -> None:
    (tmp_path / "deploytool.toml").write_text(CONFIG)
    (tmp_path / "conf").mkdir()
    make(tmp_path / "conf" / "a")
    assert words in refusal(tmp_path)


def test_a_link_of_a_folder_leads_out_too(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "deploytool.toml").write_text(CONFIG)
    (tmp_path / "a").write_text("another project's")
    (project / "conf").symlink_to(tmp_path)
    assert "leads out of the project" in refusal(project)


def test_links_within_the_project_are_followed(tmp_path: Path) -> None:
    (tmp_path / "deploytool.toml").write_text(CONFIG)
    (tmp_path / "conf").mkdir()
    (tmp_path / "b").write_text("b")
    (tmp_path / "conf" / "a").symlink_to("../b")
    assert load(tmp_path, environ={}).files == {"conf/a": b"b"}


@pytest.mark.parametrize("name", ["deploytool.toml", "pyproject.toml"])
def test_a_configuration_is_not_larger_than_a_mebibyte(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"#" * (LARGEST_TEXT + 1))
    assert "cannot be read: it is larger than 1 MiB" in refusal(tmp_path)


@pytest.mark.parametrize("make", STRANGE)
def test_a_dockerfile_that_has_no_end(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "Dockerfile")
    with pytest.raises(UsageError) as caught:
        lint.lint(tmp_path, None)
    assert caught.value.code == "dockerfile_unreadable"


@pytest.mark.parametrize("make", STRANGE)
def test_a_dockerignore_that_has_no_end(make: Make, tmp_path: Path) -> None:
    make(tmp_path / ".dockerignore")
    assert not dockerignore.read(tmp_path / ".dockerignore").patterns


@pytest.mark.parametrize("make", [*STRANGE, elsewhere])
def test_what_init_reads(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "main.py")
    make(tmp_path / "requirements.txt")
    project = Project(tmp_path)
    assert project.scope(PurePosixPath("main.py")) is None
    assert PurePosixPath("main.py") in project.unreadable
    if make is not huge:
        assert project.text(PurePosixPath("requirements.txt")) is None
        with pytest.raises(UsageError, match=r"requirements\.txt cannot be read: it "):
            project.needed_text(PurePosixPath("requirements.txt"))


def test_values_of_secrets(tmp_path: Path) -> None:
    huge(tmp_path / "a")
    for file in (tmp_path / "a", Path("/dev/zero")):
        with pytest.raises(UsageError, match="cannot be read: it is larger than 1 MiB"):
            read(Request("NAME", file), can_ask=False)


def test_a_secret_of_another_program(tmp_path: Path) -> None:
    """As a shell gives it: deploytool secrets set NAME --file <(pass show name)."""
    reading, writing = os.pipe()
    os.write(writing, b"value")
    os.close(writing)
    try:
        found = read(Request("NAME", Path(f"/dev/fd/{reading}")), can_ask=False)
    finally:
        os.close(reading)
    assert found == {"NAME": b"value"}


@pytest.mark.parametrize("make", STRANGE)
def test_the_token_of_a_cluster(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "token")
    with pytest.raises(UsageError, match="cannot be read"):
        connection(NomadSettings(token_file=str(tmp_path / "token")), {})


# --- writing


@pytest.fixture
def outside(tmp_path: Path) -> tuple[Path, Path]:
    """A project with links to a file and a folder beside it."""
    project, other = tmp_path / "project", tmp_path / "other"
    project.mkdir()
    other.mkdir()
    (other / "file").write_text("theirs")
    (project / "Dockerfile").symlink_to("../other/file")
    (project / "new").symlink_to("../other/new")
    (project / "stacks").symlink_to("../other")
    return project, other


@pytest.mark.parametrize("path", ["Dockerfile", "new", "stacks/items.yml"])
def test_init_writes_nothing_elsewhere(path: str, outside: tuple[Path, Path]) -> None:
    project, other = outside
    first = FileWrite("deploytool.toml", "ours", Fate.WRITTEN)
    with pytest.raises(DeploytoolError) as caught:
        write(project, [first, FileWrite(path, "ours", Fate.REPLACED)])
    assert caught.value.code == "not_writable"
    assert [file.name for file in other.iterdir()] == ["file"]
    assert (other / "file").read_text() == "theirs"
    assert not (project / "deploytool.toml").exists()


def test_rendered_files_are_not_written_elsewhere(outside: tuple[Path, Path]) -> None:
    project, other = outside
    with pytest.raises(UsageError, match="leads out of the project"):
        write_whole(project, "stacks/items.yml", "ours")
    assert [file.name for file in other.iterdir()] == ["file"]


@pytest.mark.parametrize("make", STRANGE)
def test_a_rendered_file_that_has_no_end(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "stack.yml")
    with pytest.raises(UsageError, match=r"stack\.yml cannot be read: it "):
        diff(tmp_path, RenderedFile(Path("stack.yml"), "ours"))


def test_a_link_within_the_project_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "file").write_text("old")
    (tmp_path / "Dockerfile").symlink_to("docker/file")
    write(tmp_path, [FileWrite("Dockerfile", "new", Fate.REPLACED)])
    assert (tmp_path / "docker" / "file").read_text() == "new"
    assert (tmp_path / "Dockerfile").is_symlink()


def test_a_link_to_itself_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").symlink_to("Dockerfile")
    write(tmp_path, [FileWrite("Dockerfile", "new", Fate.REPLACED)])
    assert (tmp_path / "Dockerfile").read_text() == "new"


def test_a_rendered_file_outside_the_project_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("of somebody else")
    project = tmp_path / "project"
    project.mkdir()
    (project / "stack.yml").symlink_to("../private")
    with pytest.raises(UsageError, match="it leads out of the project"):
        diff(project, RenderedFile(Path("stack.yml"), "ours"))
