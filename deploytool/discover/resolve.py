"""Which Python an image needs so that the dependencies install, and what they are in full.

A lock answers by itself, as far as it names files; else uv asks the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement

from deploytool.discover import locks, python_version
from deploytool.discover.index import Answer, Index, name_of
from deploytool.discover.locks import Lock, Locked
from deploytool.discover.packaging import SCRIPT_BLOCK, FoundPackaging, Packaging
from deploytool.discover.requested import (
    Requested,
    of_pipfile,
    of_poetry,
    of_project,
    of_requirements,
    of_texts,
)
from deploytool.discover.source import Project
from deploytool.discover.wheels import applies, has_source, has_wheel

PLAIN_FASTAPI = "fastapi[standard]>=0.115,<1"


@dataclass(frozen=True)
class Resolution:
    """A Python, and what is installed for it."""

    python: str
    """"3.12", or a patch release where the project pins one."""
    why: str
    source_only: tuple[str, ...] = ()
    """Distributions without a wheel for this Python, with their version where it is known."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """All that is installed, by normalized name; "" where the version is not known."""
    complete: bool = False
    """Whether `versions` also has everything that dependencies depend on."""
    vcs: tuple[str, ...] = ()
    """Names of what is installed from Git."""
    unreachable: str | None = None
    """Why the index could not be asked."""
    notes: tuple[str, ...] = ()
    """What stands in the way, one line each."""


@dataclass(frozen=True)
class Outcome:
    """How the dependencies install on one Python."""

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    source_only: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    conflict: str | None = None
    unreachable: str | None = None
    complete: bool = True

    @property
    def rank(self) -> tuple[int, int, int]:
        """The lower the better."""
        return int(bool(self.conflict)), len(self.unfit), len(self.source_only)

    @property
    def is_good(self) -> bool:
        return self.rank == (0, 0, 0) and not self.unreachable

    def with_answer(self, answer: Answer) -> Outcome:
        return replace(
            self,
            versions={**self.versions, **answer.versions},
            source_only=(*self.source_only, *answer.source_only),
            unfit=(*self.unfit, *answer.unfit),
            foreign=(*self.foreign, *answer.foreign),
            missing=(*self.missing, *answer.missing),
            conflict=answer.conflict,
            unreachable=answer.unreachable,
        )


@dataclass(frozen=True)
class Dependencies:
    """What a project depends on: a lock, or requirements to ask the index about."""

    lock: Lock | None = None
    requested: Requested = field(default_factory=Requested)


def resolve(
    folder: Path,
    packaging: FoundPackaging,
    *,
    constraint: str,
    hint: tuple[str, str] | None,
    index: Index | None = None,
) -> Resolution:
    """Choose the Python of an image and resolve the dependencies for it.

    `hint` is a Python that a file names, and that file. Never raises, and ends within index.LIMIT.
    """
    project = Project(folder)
    place = PurePosixPath(getattr(packaging, "folder", "."))
    dependencies = dependencies_of(project, packaging, place)
    chooser = Chooser(dependencies, index or Index(folder / place))
    pythons, why = pythons_to_try(constraint, hint)
    return chooser.choose(pythons, why)


def pythons_to_try(
    constraint: str, hint: tuple[str, str] | None
) -> tuple[tuple[str, ...], str | None]:
    """The Pythons to try, best first; and why, when there is no choice."""
    if patch := python_version.pinned(constraint):
        return (patch,), f"the project pins {patch}"
    if hint and python_version.satisfies(hint[0], constraint):
        return (hint[0],), hint[1]
    return python_version.candidates(constraint) or (python_version.DEFAULT,), None


# --- what the project depends on -----------------------------------------------------------------


def dependencies_of(
    project: Project, packaging: FoundPackaging, place: PurePosixPath
) -> Dependencies:
    """The lock of a project, or else its requirements."""
    lock = _lock(project, packaging)
    if lock is not None and lock.packages:
        return Dependencies(lock=lock)
    return Dependencies(requested=_requested(project, packaging, place))


def _lock(project: Project, packaging: FoundPackaging) -> Lock | None:
    wanted = packaging.extras, packaging.groups
    for file in map(PurePosixPath, packaging.files):
        text = project.text(file)
        match file.name:
            case "poetry.lock":
                pyproject = _toml(project, file.parent / "pyproject.toml")
                return locks.poetry_lock(locks.read_toml(text), pyproject, *wanted)
            case "pdm.lock":
                return locks.pdm_lock(locks.read_toml(text), *wanted)
            case "Pipfile.lock":
                return locks.pipfile_lock(text)
            case name if name == "pylock.toml" or name.startswith("pylock."):
                return locks.pylock(locks.read_toml(text))
            case name if name == "uv.lock" or name.endswith(".py.lock"):
                return locks.uv_lock(locks.read_toml(text), packaging.package, *wanted)
    return None


def _toml(project: Project, file: PurePosixPath) -> locks.Document:
    return locks.read_toml(project.text(file))


def _requested(project: Project, packaging: FoundPackaging, place: PurePosixPath) -> Requested:
    wanted = packaging.extras, packaging.groups
    files = [PurePosixPath(file) for file in packaging.files]
    pyproject = _toml(project, place / "pyproject.toml")
    readers: dict[str, Callable[[], Requested]] = {
        Packaging.REQUIREMENTS: lambda: of_requirements(project, files[0]),
        Packaging.POETRY: lambda: of_poetry(pyproject, *wanted),
        Packaging.SCRIPT: lambda: _of_script(project.text(files[0])),
        Packaging.SINGLE_FILE: lambda: of_texts([PLAIN_FASTAPI]),
        "pipenv": lambda: of_pipfile(_toml(project, place / "Pipfile")),
    }
    return readers.get(packaging.kind, lambda: of_project(pyproject, *wanted))()


def _of_script(text: str | None) -> Requested:
    block = SCRIPT_BLOCK.search((text or "").replace("\r\n", "\n"))
    lines = block["content"].splitlines() if block else []
    document = locks.read_toml("\n".join(line[2:] for line in lines))
    sources = document.get("tool", {})
    return of_project({"project": document, "tool": sources})


# --- choosing ------------------------------------------------------------------------------------


@dataclass
class Chooser:
    """Tries Pythons, best first, until everything installs from wheels on one."""

    dependencies: Dependencies
    index: Index

    def __post_init__(self) -> None:
        self._missing: tuple[str, ...] = ()

    def choose(self, pythons: tuple[str, ...], why: str | None) -> Resolution:
        tried: list[Outcome] = []
        for python in pythons:
            best = min(tried, key=lambda outcome: outcome.rank, default=None)
            tried.append(self.outcome(python, best))
            if tried[-1].is_good or tried[-1].unreachable:
                break
        answered = [outcome for outcome in tried if not outcome.unreachable] or tried
        chosen = min(answered, key=lambda outcome: outcome.rank)
        return self._resolution(chosen, tried, why)

    def outcome(self, python: str, best: Outcome | None) -> Outcome:
        """How everything installs on a Python; not to the end once it is no better than `best`."""
        lock, requested = self.dependencies.lock, self.dependencies.requested
        if lock is None:
            start = Outcome(python, complete=requested.is_complete, source_only=requested.archives)
            return self._ask(requested, start, best, alone=False)
        installed = [package for package in lock.installed(python) if not package.is_local]
        start = _of_lock(python, installed)
        pins = tuple(p.pin for p in installed if p.files is None and not p.is_vcs and p.version)
        if not pins or (best and start.rank >= best.rank):
            return start
        return self._ask(Requested(lines=pins), start, best, alone=True)

    def _ask(
        self, requested: Requested, start: Outcome, best: Outcome | None, *, alone: bool
    ) -> Outcome:
        """Ask until the rest resolves without what has no wheel."""
        if not requested.lines:
            return start
        outcome = replace(start, missing=self._missing)
        left_out = {name_of(pin) for pin in self._missing}
        while not best or outcome.rank < best.rank:
            answer = self.index.ask(requested, start.python, without=left_out, alone=alone)
            outcome = outcome.with_answer(answer)
            self._missing = outcome.missing
            if not answer.left_out - left_out:
                break
            left_out |= answer.left_out
        return replace(outcome, complete=start.complete and _is_whole(outcome, alone=alone))

    def _resolution(self, chosen: Outcome, tried: list[Outcome], why: str | None) -> Resolution:
        lock, requested = self.dependencies.lock, self.dependencies.requested
        packages = lock.installed(chosen.python) if lock else ()
        vcs = tuple(p.name for p in packages if p.is_vcs) if lock else requested.vcs
        return Resolution(
            python=chosen.python,
            why=why or _why(chosen, tried),
            source_only=_unique(chosen.source_only),
            versions=_versions(chosen, _direct(requested, chosen.python), vcs),
            complete=chosen.complete,
            vcs=_unique(vcs),
            unreachable=tried[-1].unreachable,
            notes=tuple(_notes(chosen, tried)),
        )


def _is_whole(outcome: Outcome, *, alone: bool) -> bool:
    """Whether nothing is left out whose own dependencies would count."""
    left_out = (*outcome.source_only, *outcome.unfit, *outcome.missing)
    return alone or not (left_out or outcome.conflict or outcome.unreachable)


def _of_lock(python: str, installed: Iterable[Locked]) -> Outcome:
    """What the files in a lock tell."""
    source_only: list[str] = []
    unfit: list[str] = []
    versions: dict[str, str] = {}
    for package in installed:
        versions[package.name] = package.version
        if not python_version.satisfies(python, package.requires_python):
            unfit.append(package.pin)
        elif package.files is not None and not package.is_vcs:
            if has_wheel(package.files, python):
                continue
            (source_only if has_source(package.files) else unfit).append(package.pin)
    return Outcome(python, versions, tuple(source_only), tuple(unfit))


def _direct(requested: Requested, python: str) -> dict[str, str]:
    """What is asked for by name, with the version where it is pinned."""
    found: dict[str, str] = {}
    for line in requested.lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if applies(str(requirement.marker or ""), python):
            pins = [one.version for one in requirement.specifier if one.operator == "=="]
            found[name_of(requirement.name)] = next((p for p in pins if "*" not in p), "")
    return found


def _versions(chosen: Outcome, direct: Mapping[str, str], vcs: Iterable[str]) -> dict[str, str]:
    versions = dict.fromkeys(vcs, "") | dict(direct)
    for pin in (*chosen.source_only, *chosen.unfit):
        version = pin.partition("==")[2]
        versions[name_of(pin)] = version or versions.get(name_of(pin), "")
    return dict(sorted((versions | dict(chosen.versions)).items()))


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


# --- why and notes -------------------------------------------------------------------------------


def _why(chosen: Outcome, tried: list[Outcome]) -> str:
    if chosen.unreachable:
        return f"nothing says which, and the index could not be asked: {chosen.unreachable}"
    newer = tried[: tried.index(chosen)]
    if chosen.is_good:
        reason = f" ({_obstacle(newer[-1])})" if newer else ""
        return f"the newest for which every dependency has a wheel{reason}"
    if chosen.conflict:
        return "the newest; the dependencies resolve on no Python"
    return f"no Python has wheels for all dependencies, this one lacks fewest ({_obstacle(chosen)})"


def _obstacle(outcome: Outcome) -> str:
    """What one Python lacks, by its first example."""
    pins = (*outcome.unfit, *outcome.source_only)
    if not pins:
        return f"on {outcome.python} the dependencies do not resolve"
    which = f"{pins[0]} and {len(pins) - 1} more have" if len(pins) > 1 else f"{pins[0]} has"
    return f"{which} none for {outcome.python}"


def _notes(chosen: Outcome, tried: list[Outcome]) -> Iterator[str]:
    foreign = {name for outcome in tried for name in outcome.foreign}
    for pin in _unique(chosen.unfit):
        if name_of(pin) in foreign:
            yield (
                f"{pin} does not install on Linux: "
                "take it out, or add the marker `; sys_platform == 'win32'`"
            )
        else:
            yield f"{pin} does not install on Python {chosen.python}: choose another version of it"
    for pin in _unique(chosen.missing):
        yield f"{pin} is not in the package index: correct its name or version"
    if chosen.conflict:
        yield f"the dependencies cannot be resolved: {chosen.conflict}"
    if old := python_version.warning(chosen.python):
        yield old
