import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploytool.config import BuildSettings
from deploytool.errors import UsageError
from deploytool.image import safe_git
from deploytool.image.git import Source, read_source
from deploytool.process import Finished, ProgramMissing

WHEN = "2026-01-02T03:04:05+01:00"
ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": WHEN,
    "GIT_COMMITTER_DATE": WHEN,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments],
        env=os.environ | ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "main.py").write_text("app = 1\n")
    commit(folder)
    return folder


def read(folder: Path, context: str = ".") -> Source:
    return read_source(folder, BuildSettings(context=context))


def test_a_clean_tree_has_its_commit(project: Path) -> None:
    source = read(project)
    revision = git(project, "rev-parse", "HEAD")
    assert (source.revision, source.commit, source.dirty) == (revision, revision, False)


def test_reading_changes_nothing(project: Path) -> None:
    os.utime(project / "main.py", (1, 1))  # makes git want to refresh its index
    before = (project / ".git" / "index").read_bytes()
    read(project)
    assert (project / ".git" / "index").read_bytes() == before


def test_a_commit_that_changes_nothing_in_the_image_changes_no_tag(project: Path) -> None:
    """Neither does what is in no commit yet. The release remembers the commit."""
    (project / ".dockerignore").write_text("*\n!main.py\n")
    (project / "pyproject.toml").write_text('[project]\nversion = "1"\n')
    commit(project)
    first = read(project)
    (project / "pyproject.toml").write_text('[project]\nversion = "2"\n')
    (project / "notes.txt").write_text("untracked")
    assert read(project) == first
    revision = commit(project)
    assert read(project) == Source(revision, False, first.tag)


def test_a_changed_tree_has_a_tag_of_its_own(project: Path) -> None:
    clean = read(project)
    tags = {clean.tag}
    for text in ("app = 2\n", "app = 3\n"):
        (project / "main.py").write_text(text)
        source = read(project)
        assert source.dirty
        assert source.revision == clean.revision
        assert source.commit == f"{clean.revision}-dirty"
        tags.add(source.tag)
    assert len(tags) == 3
    changed = read(project)
    assert Source(commit(project), False, changed.tag) == read(project)
    (project / "main.py").write_text("app = 1\n")
    assert read(project).tag == clean.tag


def test_a_dockerfile_outside_of_the_context_counts(project: Path) -> None:
    (project / "code").mkdir()
    (project / "Dockerfile").write_text("FROM scratch\n")
    commit(project)
    assert not read(project, "code").dirty
    (project / "Dockerfile").write_text("FROM scratch\nUSER 1\n")
    assert read(project, "code").dirty


def test_staging_a_change_does_not_make_another(project: Path) -> None:
    (project / "main.py").write_text("app = 2\n")
    (project / "new.py").write_text("")
    before = read(project)
    git(project, "add", "--all")
    assert read(project) == before


def test_files_that_git_ignores_are_no_change(project: Path) -> None:
    (project / ".gitignore").write_text("*.log\n")
    commit(project)
    (project / "noise.log").write_text("noise")
    assert not read(project).dirty


def test_the_users_settings_do_not_matter(project: Path) -> None:
    (project / "new.py").write_text("")
    before = read(project)
    for key, value in (
        ("status.showUntrackedFiles", "no"),
        ("status.short", "true"),
        ("log.showSignature", "true"),
        ("core.quotePath", "true"),
        ("color.ui", "always"),
    ):
        git(project, "config", key, value)
    assert read(project) == before


def test_a_change_in_a_nested_repository_counts(project: Path) -> None:
    nested = project / "nested"
    nested.mkdir()
    git(nested, "init", "--quiet")
    (nested / "a.py").write_text("1")
    commit(nested)
    tags = [read(project).tag]
    (nested / "a.py").write_text("2")
    tags.append(read(project).tag)
    assert tags[0] != tags[1]


def test_only_the_projects_own_part_of_a_repository_counts(project: Path) -> None:
    mine = project / "mine"
    mine.mkdir()
    (mine / "app.py").write_text("1")
    commit(project)
    (project / "main.py").write_text("somebody else's\n")
    assert not read(mine).dirty
    assert read(mine, "..").dirty
    (mine / "app.py").write_text("2")
    assert read(mine).dirty


def test_a_worktree_and_a_detached_head(project: Path, tmp_path: Path) -> None:
    git(project, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    assert read(tmp_path / "tree") == read(project)


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("app = 1\n")
    source = read(tmp_path)
    assert (source.revision, source.commit, source.dirty) == (None, None, False)
    assert re.fullmatch("tree-[0-9a-f]{12}", source.tag)


def test_a_repository_without_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "main.py").write_text("")
    assert read(tmp_path).tag.startswith("tree-")


def test_a_machine_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> Finished:
        raise ProgramMissing("git")

    monkeypatch.setattr(safe_git, "capture", missing)
    assert read(project).revision is None


def test_a_repository_of_somebody_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match="dubious ownership") as raised:
        read(project)
    assert raised.value.code == "git_refused"
    assert f"safe.directory {project}" in raised.value.hint


def names_programs(repository: Path, mark: Path) -> None:
    """Settings that let git run a program, which leaves a mark."""
    program = mark.with_name(f"{mark.name}.sh")
    program.write_text(f"#!/bin/sh\necho $0 >> '{mark}'\ncat\n")
    program.chmod(0o755)
    included = mark.with_name(f"{mark.name}.config")
    included.write_text(f'[filter "included"]\n\tclean = {program}\n')
    for key, value in {
        "core.fsmonitor": str(program),
        "core.hooksPath": str(program.parent),
        "filter.a=b.clean": str(program),
        "filter.required.process": str(program),
        "filter.required.required": "true",
        "include.path": str(included),
    }.items():
        git(repository, "config", key, value)


FILTERED = "*.a filter=a=b\n*.b filter=required\n*.c filter=included\n"


def test_no_program_of_a_repository_runs(project: Path, tmp_path: Path) -> None:
    """Not of a submodule either. A filter of the user's own does."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet")
    for folder in (library, project):
        (folder / ".gitattributes").write_text(FILTERED)
        for name in "abc":
            (folder / f"x.{name}").write_text("1\n")
    commit(library)
    git(project, *ALLOW_FILES, "submodule", "--quiet", "add", str(library), "library")
    commit(project)
    for repository in (project, project / "library"):
        names_programs(repository, tmp_path / "ran")
        for name in "abc":
            os.utime(repository / f"x.{name}", (1, 1))
    (project / ".git" / "hooks").mkdir(exist_ok=True)
    assert not read(project).dirty
    assert not (tmp_path / "ran").exists()

    (project / "library" / "x.a").write_text("2\n")
    assert read(project).dirty
    assert not (tmp_path / "ran").exists()


ALLOW_FILES = ("-c", "protocol.file.allow=always")


def test_filters_of_the_user_count(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of git-lfs: what is committed is not what is in the folder."""
    (tmp_path / "gitconfig").write_text('[filter "up"]\n\tclean = tr a-z A-Z\n')
    (project / ".gitattributes").write_text("*.up filter=up\n")
    (project / "x.up").write_text("A\n")
    commit(project)
    (project / "x.up").write_text("a\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert not read(project).dirty


def test_a_broken_repository(project: Path) -> None:
    shutil.rmtree(project / ".git" / "objects")
    (project / ".git" / "objects").mkdir()
    with pytest.raises(UsageError, match="git cannot read the project: ") as raised:
        read(project)
    assert raised.value.code == "git_refused"


def test_an_unreadable_file_is_no_reason_to_stop(project: Path) -> None:
    os.mkfifo(project / "pipe")
    (project / "new.py").write_text("")
    assert read(project).dirty
