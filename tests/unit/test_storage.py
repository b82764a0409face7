"""How what an app writes is kept: the decision, by what is written and what the image ships."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover.files.storage import Storage, shipped_files, storage
from deploytool.discover.files.writes import Write, WriteKind
from deploytool.discover.source import Project
from deploytool.spec import Volume

SHIPPED = ("main.py", "app/main.py", "app/static/site.css", "static/logo.png")


def sqlite(path: str, variable: str | None = None, value: str = "sqlite:///{path}") -> Write:
    return Write(PurePosixPath(path), WriteKind.SQLITE, False, "app/db.py", variable, value)


def folder(path: str) -> Write:
    return Write(PurePosixPath(path), WriteKind.FOLDER, True, "app/main.py")


def file(path: str, kind: WriteKind = WriteKind.FILE) -> Write:
    return Write(PurePosixPath(path), kind, False, "app/main.py")


def decided(*writes: Write, shipped: tuple[str, ...] = SHIPPED) -> Storage:
    made = storage(writes, shipped)
    for name, target in made.volumes:
        Volume(source=name, target=target)
    return made


def test_nothing_is_written() -> None:
    assert decided() == Storage()


def test_a_database_beside_the_code_is_linked() -> None:
    made = decided(sqlite("data.db"))
    assert made == Storage(
        read_only=False,
        replicas=1,
        volumes=(("data", "/data"),),
        links=(("/code/data.db", "/data/data.db"),),
        notes=made.notes,
    )
    assert made.notes == (
        "app/db.py keeps data.db with SQLite: a link puts it into the volume data; "
        "replicas = 1, as more replicas need a database server",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sqlite:///{path}", "sqlite:////data/data.db"),
        ("sqlite+aiosqlite:///{path}?timeout=5", "sqlite+aiosqlite:////data/data.db?timeout=5"),
        ("sqlite://{path}", "sqlite:///data/data.db"),
        ("{path}", "/data/data.db"),
    ],
)
def test_a_variable_says_where_a_database_is(value: str, expected: str) -> None:
    made = decided(sqlite("data.db", "DATABASE_URL", value))
    assert made.env == {"DATABASE_URL": expected}
    assert (made.volumes, made.links) == ((("data", "/data"),), ())
    assert "DATABASE_URL puts it into the volume data" in made.notes[0]


@pytest.mark.parametrize(
    ("write", "shipped", "volumes", "links"),
    [
        (sqlite("data/a.db"), SHIPPED, [("data", "/code/data")], []),
        (sqlite("data/a.db"), ("data/.gitkeep",), [("data", "/code/data")], []),
        (sqlite("data/a.db"), ("data/a.db", "data/README.md"), [("data", "/code/data")], []),
        (
            sqlite("data/a.db"),
            ("data/seed.csv",),
            [("data", "/data")],
            [("/code/data/a.db", "/data/a.db")],
        ),
        (
            sqlite("app/a.db"),
            SHIPPED,
            [("data", "/data")],
            [("/code/app/a.db", "/data/a.db")],
        ),
        (sqlite("app/a.db"), ("app/",), [("data", "/data")], [("/code/app/a.db", "/data/a.db")]),
        (sqlite("/srv/db/a.db"), SHIPPED, [("db", "/srv/db")], []),
        (sqlite("/data/a.db"), SHIPPED, [("data", "/data")], []),
    ],
)
def test_a_folder_of_its_own_is_a_volume(
    write: Write,
    shipped: tuple[str, ...],
    volumes: list[tuple[str, str]],
    links: list[tuple[str, str]],
) -> None:
    made = decided(write, shipped=shipped)
    assert ([*made.volumes], [*made.links]) == (volumes, links)
    assert made.replicas == 1
    assert made.read_only is write.path.is_absolute()


@pytest.mark.parametrize(
    ("write", "volumes", "folders"),
    [
        (folder("uploads"), [("uploads", "/code/uploads")], []),
        (folder("app/uploads"), [("uploads", "/code/app/uploads")], []),
        (folder("static/uploads"), [("uploads", "/code/static/uploads")], []),
        (folder("User Images"), [], []),
        (folder("static/images/profile"), [("profile", "/code/static/images/profile")], []),
        (folder("E:\\out"), [], []),
        (folder("_data"), [("data", "/code/_data")], []),
        (file("data/state.json"), [("data", "/code/data")], []),
        (folder("logs"), [], ["/code/logs"]),
        (folder("data/cache"), [], ["/code/data/cache"]),
        (folder("temp_uploads"), [], ["/code/temp_uploads"]),
        (folder("static"), [], ["/code/static"]),
        (folder("generated"), [], ["/code/generated"]),
        (file("state.json"), [], []),
        (file("app/state.json"), [], ["/code/app"]),
        (file("data/app.log", WriteKind.LOG), [], ["/code/data"]),
        (Write(PurePosixPath(), WriteKind.FILE, True, "main.py"), [], []),
        (folder("/var/log/app"), [], ["/var/log/app"]),
    ],
)
def test_folders(write: Write, volumes: list[tuple[str, str]], folders: list[str]) -> None:
    made = decided(write)
    assert ([*made.volumes], [*made.folders]) == (volumes, folders)
    assert made.replicas == (1 if volumes else None)
    assert made.read_only is write.path.is_absolute()
    assert len(made.notes) == 1
    assert "\n" not in made.notes[0]


@pytest.mark.parametrize(
    ("write", "target"),
    [
        (sqlite("a.db"), "/data/a.db"),
        (sqlite("a.db", "DB"), "/data/a.db"),
        (sqlite("db/a.db"), "/code/db/a.db"),
    ],
)
def test_a_database_that_is_brought_along_is_what_the_volume_starts_with(
    write: Write, target: str
) -> None:
    made = decided(replace(write, is_shipped=True))
    assert made.seeds == ((str(write.path), target),)
    assert "which starts with the a.db that is here now" in made.notes[0]


def test_code_is_never_hidden_by_a_volume() -> None:
    made = decided(folder("files"), shipped=("files/handler.py",))
    assert made.volumes == ()
    assert made.folders == ("/code/files",)


def test_shipped_pictures_may_be_below_a_volume() -> None:
    made = decided(folder("images"), shipped=("images/a.png",))
    assert made.volumes == (("images", "/code/images"),)
    assert made.notes[0].endswith("; what later images bring there does not get into it")


def test_a_volume_holds_what_is_below_it() -> None:
    made = decided(folder("data/uploads"), sqlite("data/a.db"), folder("data"), file("data/x.json"))
    assert made.volumes == (("data", "/code/data"),)
    assert len(made.notes) == 1


def test_names_and_places_are_not_used_twice() -> None:
    made = decided(
        sqlite("data/a.db"),
        sqlite("b.db"),
        sqlite("app/b.db"),
        folder("app/uploads"),
        folder("web/uploads"),
    )
    names = [name for name, _ in made.volumes]
    targets = [target for _, target in made.links]
    assert len(set(names)) == len(names) == 4
    assert sorted(targets) == ["/data/2-b.db", "/data/b.db"]


def test_notes_say_what_is_lost() -> None:
    made = decided(file("logs/app.log", WriteKind.LOG), file("state.json"), folder("uploads"))
    text = "\n".join(made.notes)
    assert re.search(r"app.log: read_only = false .* logs belong on standard output", text)
    assert re.search(r"state.json: read_only = false .* is lost .* mount a volume", text)
    assert re.search(r"uploads/: .* replicas = 1, as more replicas need shared storage", text)


def test_another_folder_in_the_image() -> None:
    made = storage([sqlite("a.db"), folder("uploads")], SHIPPED, home="/srv/app")
    assert made.links == (("/srv/app/a.db", "/data/a.db"),)
    assert ("uploads", "/srv/app/uploads") in made.volumes


def test_shipped_files_of_folders(tmp_path: Path) -> None:
    for name in ("app/main.py", "app/data/seed.csv", "app/__pycache__/main.pyc", "main.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = shipped_files(Project(tmp_path), ["app/", "main.py"])
    assert sorted(found) == ["app/data/seed.csv", "app/main.py", "main.py"]
