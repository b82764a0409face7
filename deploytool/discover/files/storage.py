"""Decides where what an app writes is kept: volumes, links, or nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import PurePosixPath

from deploytool.discover.files.writes import Write, WriteKind
from deploytool.discover.paths import CODE
from deploytool.discover.source import Project

DATA = PurePosixPath("/data")
"""Where files are kept that have no folder of their own."""
KEPT = frozenset(
    {"upload", "uploaded", "media", "data", "storage", "store", "file", "image", "img", "photo"}
    | {"picture", "avatar", "video", "audio", "document", "pdf", "attachment", "db", "database"}
    | {"sqlite", "persist", "persistent", "chroma", "chromadb", "vectorstore", "faiss", "index"}
    | {"backup", "save", "saved", "user", "instance", "recording", "submission", "lancedb"}
)
LOST = frozenset({"log", "cache", "tmp", "temp", "temporary"})
MAX_SHIPPED = 20_000
_BESIDE_DATA = re.compile(r"^\.|^README|\.(db|sqlite3?|log)(-\w+)?$", re.IGNORECASE)
_PLAIN = re.compile(r"[\w./+@-]+")
"""The characters of one word of a shell."""
SYSTEM_FOLDERS = frozenset(
    {"/", "/etc", "/usr", "/bin", "/lib", "/sbin", "/var", "/opt", "/home", "/root"}
)


@dataclass(frozen=True)
class Storage:
    """The settings of configuration and image with which the app can write its files."""

    read_only: bool = True
    replicas: int | None = None
    """1 where replicas would not share what they keep; None: as many as one likes."""
    volumes: tuple[tuple[str, str], ...] = ()
    """Names of volumes and where they are mounted."""
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links of the image and what they point to."""
    seeds: tuple[tuple[str, str], ...] = ()
    """Files of the project that the image brings, and where: a fresh volume starts with them."""
    env: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    """Folders of the image, beside the volumes, that have to exist and to be the process's."""
    notes: tuple[str, ...] = ()
    """One line for each decision."""


def shipped_files(project: Project, sources: Iterable[str]) -> tuple[str, ...]:
    """The files that the sources of an image stand for: those of a folder one by one."""
    found: list[str] = []
    for source in sources:
        if not project.is_folder(PurePosixPath(source)):
            found.append(source)
            continue
        for folder, folders, files in os.walk(project.path / source):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            here = os.path.relpath(folder, project.path)
            found += (PurePosixPath(here, name).as_posix() for name in sorted(files))
            if len(found) > MAX_SHIPPED:
                break
    return tuple(found)


def storage(writes: Iterable[Write], sources: Iterable[str], *, home: str = CODE) -> Storage:
    """How what is written is kept. `sources` are the files of the image, see `shipped_files`;
    `home` is the project's folder in it."""
    plan = _Plan([*sources], PurePosixPath(home))
    for write in sorted(writes, key=lambda write: (_rank(write), write.path)):
        plan.add(write)
    return plan.decided()


def _rank(write: Write) -> int:
    """Databases first; outer folders before those inside them, and both before single files."""
    if write.kind in (WriteKind.SQLITE, WriteKind.DATABASE):
        return 0
    return 1 if write.is_folder else 2


class _Plan:
    def __init__(self, shipped: list[str], home: PurePosixPath) -> None:
        self.shipped = shipped
        self.home = home
        self.read_only = True
        self.replicas: int | None = None
        self.volumes: dict[PurePosixPath, str] = {}
        self.links: dict[PurePosixPath, PurePosixPath] = {}
        self.seeds: dict[str, PurePosixPath] = {}
        self.moved: set[PurePosixPath] = set()
        self.env: dict[str, str] = {}
        self.folders: set[PurePosixPath] = set()
        self.notes: list[str] = []

    def add(self, write: Write) -> None:
        if not write.path.is_absolute():
            self.read_only = False
        folder = self._folder(write)
        if self._is_in_volume(folder):
            return
        if write.kind in (WriteKind.SQLITE, WriteKind.DATABASE):
            self._keep_database(write, folder)
        elif write.kind is not WriteKind.LOG and _is_kept(write) and self._can_mount(folder):
            self._keep_folder(write, folder)
        else:
            self._let_go(write, folder)

    def decided(self) -> Storage:
        folders = (f for f in self.folders if f != self.home and not self._is_in_volume(f))
        folders = (folder for folder in folders if _PLAIN.fullmatch(str(folder)))
        return Storage(
            read_only=self.read_only,
            replicas=self.replicas,
            volumes=tuple((name, str(target)) for target, name in sorted(self.volumes.items())),
            links=tuple((str(path), str(target)) for path, target in sorted(self.links.items())),
            seeds=tuple((path, str(target)) for path, target in sorted(self.seeds.items())),
            env=dict(sorted(self.env.items())),
            folders=tuple(sorted(map(str, folders))),
            notes=tuple(self.notes),
        )

    def _folder(self, write: Write) -> PurePosixPath:
        """The folder in the image that is written in."""
        return self.home / _folder_of(write)

    def _is_in_volume(self, folder: PurePosixPath) -> bool:
        return any(folder.is_relative_to(target) for target in self.volumes)

    def _keep_database(self, write: Write, folder: PurePosixPath) -> None:
        self.replicas = 1
        what = f"{write.where} keeps {_shown(write)}{_with_sqlite(write)}"
        target = self.home / write.path
        if self._can_mount(folder) and not self._ships(folder):
            name = self._mount(folder)
            how = f"{folder} is the volume {name}"
        elif write.is_folder:
            self._let_go(write, folder)
            return
        elif write.variable:
            target = self._room(write)
            self.env[write.variable] = write.value.replace("{path}", str(target))
            how = f"{write.variable} puts it into the volume {self.volumes[DATA]}"
        else:
            target = self._room(write)
            self.links[self.home / write.path] = target
            how = f"a link puts it into the volume {self.volumes[DATA]}"
        seed = ""
        if write.is_shipped:
            self.seeds[str(write.path)] = target
            seed = f", which starts with the {write.path.name} that is here now"
        alone = "replicas = 1, as more replicas need a database server"
        self.notes.append(f"{what}: {how}{seed}; {alone}")

    def _room(self, write: Write) -> PurePosixPath:
        """A place in the volume for files that have no folder of their own."""
        if DATA not in self.volumes:
            self._mount(DATA)
        name = write.path.name
        names = chain((name,), (f"{number}-{name}" for number in count(2)))
        target = next(DATA / name for name in names if DATA / name not in self.moved)
        self.moved.add(target)
        return target

    def _keep_folder(self, write: Write, folder: PurePosixPath) -> None:
        self.replicas = 1
        name = self._mount(folder)
        stale = "; what later images bring there does not get into it"
        self.notes.append(
            f"{write.where} keeps files in {_inside(folder, self.home)}: it is the volume "
            f"{name}; replicas = 1, as more replicas need shared storage"
            f"{stale * self._ships(folder)}"
        )

    def _let_go(self, write: Write, folder: PurePosixPath) -> None:
        self.folders.add(folder)
        lets = "" if write.path.is_absolute() else "read_only = false allows it, and "
        advice = "to keep it, mount a volume and write there"
        if write.kind is WriteKind.LOG or _words(write) & LOST:
            advice = "logs belong on standard output"
            if write.kind is not WriteKind.LOG and not _words(write) & {"log"}:
                advice = "nothing is kept there"
        self.notes.append(
            f"{write.where} writes {_shown(write)}: {lets}each replica has its own, which is lost "
            f"when the replica ends; {advice}"
        )

    def _can_mount(self, folder: PurePosixPath) -> bool:
        """A volume hides what the image has there: code would be the first release's for ever."""
        if not _PLAIN.fullmatch(str(folder)):
            return False
        if folder == self.home or str(folder) in SYSTEM_FOLDERS or self.home.is_relative_to(folder):
            return False
        return not any(source.endswith((".py", "/")) for source in self._shipped_in(folder))

    def _ships(self, folder: PurePosixPath) -> bool:
        return not all(_BESIDE_DATA.search(s.rpartition("/")[2]) for s in self._shipped_in(folder))

    def _shipped_in(self, folder: PurePosixPath) -> Iterator[str]:
        return (source for source in self.shipped if (self.home / source).is_relative_to(folder))

    def _mount(self, folder: PurePosixPath) -> str:
        inside = folder.relative_to(self.home) if folder.is_relative_to(self.home) else folder
        parts = [part for part in inside.parts if part != "/"]
        candidates = ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        candidates += [f"{candidates[0]}-{number}" for number in range(2, len(self.volumes) + 3)]
        names = (_volume_name(candidate) for candidate in candidates)
        name = next(name for name in names if name not in self.volumes.values())
        self.volumes[folder] = name
        return name


def _volume_name(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", text).strip("-_.") or "files"


def _is_kept(write: Write) -> bool:
    """Whether the names of the folders say that what is in them matters."""
    all_words = set().union(*map(_words_of, _folder_of(write).parts))
    return bool(all_words & KEPT) and not _words(write) & LOST


def _folder_of(write: Write) -> PurePosixPath:
    return write.path if write.is_folder else write.path.parent


def _words(write: Write) -> set[str]:
    """The words of the folder's own name."""
    return _words_of(_folder_of(write).name)


def _words_of(name: str) -> set[str]:
    """The words of a name, in the singular too."""
    words = set(re.split(r"[^a-z0-9]+", name.lower())) - {""}
    return words | {word.removesuffix("s") for word in words}


def _with_sqlite(write: Write) -> str:
    return " with SQLite" if write.kind is WriteKind.SQLITE else ""


def _shown(write: Write) -> str:
    if not write.is_folder:
        return str(write.path)
    return "files beside its code" if write.path == PurePosixPath() else f"{write.path}/"


def _inside(folder: PurePosixPath, home: PurePosixPath) -> str:
    return f"{folder.relative_to(home)}/" if folder.is_relative_to(home) else f"{folder}/"
