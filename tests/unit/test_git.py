import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploytool.errors import UsageError
from deploytool.image import git as git_module
from deploytool.image.git import read_source, web_url
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


def test_a_clean_tree_is_its_commit(project: Path) -> None:
    source = read_source(project)
    revision = git(project, "rev-parse", "HEAD")
    assert source.revision == revision
    assert source.tag == revision[:12]
    assert not source.dirty
    assert source.url is None
    assert source.created == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)


def test_reading_changes_nothing(project: Path) -> None:
    os.utime(project / "main.py", (1, 1))  # makes git want to refresh its index
    before = (project / ".git" / "index").read_bytes()
    read_source(project)
    assert (project / ".git" / "index").read_bytes() == before


def test_a_changed_tree_has_a_tag_of_its_own(project: Path) -> None:
    clean = read_source(project)
    tags = {clean.tag}
    for text in ("app = 2\n", "app = 3\n"):
        (project / "main.py").write_text(text)
        source = read_source(project)
        assert source.dirty
        assert source.revision == clean.revision
        assert source.tag.startswith(f"{clean.tag}-dirty-")
        assert len(source.tag) == len(clean.tag) + len("-dirty-") + 8
        tags.add(source.tag)
    assert len(tags) == 3
    (project / "main.py").write_text("app = 1\n")
    assert read_source(project) == clean


def test_every_kind_of_change_counts(project: Path) -> None:
    (project / "link").symlink_to("main.py")
    (project / "data").mkdir()
    (project / "data" / "a.txt").write_text("a")
    commit(project)
    tags = [read_source(project).tag]
    (project / "data" / "a.txt").unlink()
    tags.append(read_source(project).tag)
    (project / "main.py").chmod(0o755)
    tags.append(read_source(project).tag)
    (project / "link").unlink()
    (project / "link").symlink_to("data")
    tags.append(read_source(project).tag)
    (project / "new.txt").write_text("new")
    tags.append(read_source(project).tag)
    (project / "new.txt").rename(project / "näw \n.txt")
    tags.append(read_source(project).tag)
    Path(os.fsdecode(os.fsencode(project) + b"/\xff.bin")).write_text("no utf-8 name")
    tags.append(read_source(project).tag)
    assert len(set(tags)) == len(tags)


def test_staging_a_change_does_not_make_another(project: Path) -> None:
    (project / "main.py").write_text("app = 2\n")
    (project / "new.py").write_text("")
    before = read_source(project)
    git(project, "add", "--all")
    assert read_source(project) == before


def test_ignored_files_do_not_count(project: Path) -> None:
    (project / ".gitignore").write_text("*.log\n")
    commit(project)
    clean = read_source(project)
    (project / "noise.log").write_text("noise")
    assert read_source(project) == clean


def test_the_users_settings_do_not_matter(project: Path) -> None:
    (project / "new.py").write_text("")
    before = read_source(project)
    for key, value in (
        ("status.showUntrackedFiles", "no"),
        ("status.short", "true"),
        ("log.showSignature", "true"),
        ("core.quotePath", "true"),
        ("color.ui", "always"),
    ):
        git(project, "config", key, value)
    assert read_source(project) == before


def test_a_change_in_a_nested_repository_counts(project: Path) -> None:
    nested = project / "nested"
    nested.mkdir()
    git(nested, "init", "--quiet")
    (nested / "a.py").write_text("1")
    commit(nested)
    tags = [read_source(project).tag]
    (nested / "a.py").write_text("2")
    tags.append(read_source(project).tag)
    assert tags[0] != tags[1]


def test_only_the_projects_own_part_of_a_repository_counts(project: Path) -> None:
    mine = project / "mine"
    mine.mkdir()
    (mine / "app.py").write_text("1")
    commit(project)
    (project / "main.py").write_text("somebody else's\n")
    assert not read_source(mine).dirty
    assert read_source(mine, Path("..")).dirty
    (mine / "app.py").write_text("2")
    assert read_source(mine).dirty


def test_a_worktree_and_a_detached_head(project: Path, tmp_path: Path) -> None:
    git(project, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    assert read_source(tmp_path / "tree") == read_source(project)


def test_the_origin_is_told_without_credentials(project: Path) -> None:
    git(project, "remote", "add", "origin", "https://ada:s3cret@example.com/team/items.git")
    assert read_source(project).url == "https://example.com/team/items"


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b"),
        ("https://token@github.com/a/b/", "https://github.com/a/b"),
        ("https://x:y@host.example:8443/a/b.git?token=z#f", "https://host.example:8443/a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("host.example:a/b", "https://host.example/a/b"),
        ("ssh://git@host.example:2222/a/b.git", "ssh://host.example:2222/a/b"),
        ("/srv/git/items.git", None),
        ("../items", None),
        ("./a:b", None),
        ("C:/items", None),
        ("file:///srv/git/items.git", None),
        ("https://[broken/a", None),
        ("", None),
    ],
)
def test_web_url(remote: str, url: str | None) -> None:
    assert web_url(remote) == url


def test_without_git_the_content_is_the_tag(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("app = 1\n")
    os.utime(tmp_path / "main.py", (1767323045, 1767323045))
    first = read_source(tmp_path)
    assert first.revision is None
    assert not first.dirty
    assert first.tag.startswith("tree-")
    assert len(first.tag) == len("tree-") + 12
    assert first.created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read_source(tmp_path) == first
    (tmp_path / "main.py").write_text("app = 2\n")
    assert read_source(tmp_path).tag != first.tag


def test_without_git_packages_and_byte_code_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("app = 1\n")
    first = read_source(tmp_path)
    for folder in (".venv/lib", "__pycache__", "node_modules/x"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("new")
    assert read_source(tmp_path).tag == first.tag


def test_a_repository_without_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "main.py").write_text("")
    assert read_source(tmp_path).tag.startswith("tree-")


def test_a_machine_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> Finished:
        raise ProgramMissing("git")

    monkeypatch.setattr(git_module, "capture", missing)
    assert read_source(project).revision is None


def test_a_repository_of_somebody_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match="dubious ownership") as raised:
        read_source(project)
    assert raised.value.code == "git_refused"
    assert f"safe.directory {project}" in raised.value.hint


def test_a_broken_repository(project: Path) -> None:
    shutil.rmtree(project / ".git" / "objects")
    (project / ".git" / "objects").mkdir()
    with pytest.raises(UsageError, match="git cannot read the project: ") as raised:
        read_source(project)
    assert raised.value.code == "git_refused"


def test_an_unreadable_file_is_no_reason_to_stop(project: Path) -> None:
    os.mkfifo(project / "pipe")
    (project / "new.py").write_text("")
    assert read_source(project).dirty
