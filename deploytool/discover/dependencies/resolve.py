"""Which Python an image needs so that the dependencies install, and what they are in full.

A lock answers by itself, as far as it names files; else uv asks the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from deploytool.discover.dependencies import locks, python_version
from deploytool.discover.dependencies.index import Answer, Index
from deploytool.discover.dependencies.locks import Lock, Locked
from deploytool.discover.dependencies.packaging import (
    PLAIN_FASTAPI,
    SCRIPT_BLOCK,
    FoundPackaging,
    Packaging,
)
from deploytool.discover.dependencies.requested import (
    Requested,
    name_of,
    of_pipfile,
    of_poetry,
    of_project,
    of_requirements,
    of_texts,
    parsed,
    pin_of,
)
from deploytool.discover.dependencies.too_old import too_old_for
from deploytool.discover.dependencies.wheels import applies, has_source, has_wheel, tags_of
from deploytool.discover.source import Project

MAX_QUESTIONS = 100


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
    """Problems, one line each."""


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
    is_finished: bool = False
    """Whether all questions were asked."""

    @cached_property
    def too_old(self) -> tuple[tuple[str, str], ...]:
        """The requirements that install and do not run on this Python, and those that do."""
        return tuple(too_old_for(self.python, self.versions))

    @property
    def rank(self) -> tuple[int, int, int]:
        """The lower the better."""
        unusable = len(self.unfit) + len(self.too_old)
        return int(bool(self.conflict)), unusable, len(self.source_only)

    @property
    def left_out(self) -> frozenset[str]:
        return frozenset(map(name_of, (*self.source_only, *self.unfit, *self.missing)))

    @property
    def is_good(self) -> bool:
        return self.rank == (0, 0, 0) and self.is_finished

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
    """The dependencies of a project: a lock, or requirements to ask the index about."""

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
    place = PurePosixPath(packaging.folder)
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
        Packaging.PIPENV: lambda: of_pipfile(_toml(project, place / "Pipfile")),
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
    """Finds the Python on which everything installs from wheels, or nearly everything."""

    dependencies: Dependencies
    index: Index

    def __post_init__(self) -> None:
        self._missing: tuple[str, ...] = ()
        self._wheels: Mapping[str, tuple[str, ...]] = {}
        self._no_wheels: tuple[str, ...] = ()

    def choose(self, pythons: tuple[str, ...], why: str | None) -> Resolution:
        """The first Python is asked alone, as it mostly does; else all are compared."""
        first = self._outcome(pythons[0], None, questions=1)
        tried = [first]
        if not (first.is_good or first.unreachable):
            self._survey(pythons)
            tried = self._compare(pythons)
        finished = [outcome for outcome in tried if outcome.is_finished]
        if not (finished or self._wheels):
            tried = [replace(first, unreachable=_unreachable(tried))]
        chosen = min(finished or tried, key=lambda outcome: outcome.rank)
        confirmed = self._confirmed(chosen)
        tried = [confirmed if outcome is chosen else outcome for outcome in tried]
        return self._resolution(confirmed, tried, why)

    def _compare(self, pythons: tuple[str, ...]) -> list[Outcome]:
        """How everything installs on each Python, as far as needed to know the best."""
        outcomes = {python: self._start(python)[0] for python in pythons}
        best: Outcome | None = None
        for python in sorted(pythons, key=lambda python: outcomes[python].rank):
            outcomes[python] = self._outcome(python, best)
            if outcomes[python].unreachable or outcomes[python].is_good:
                break
            if outcomes[python].is_finished:
                best = min(best or outcomes[python], outcomes[python], key=lambda one: one.rank)
        return [outcomes[python] for python in pythons]

    def _survey(self, pythons: tuple[str, ...]) -> None:
        """Look at once which wheels all pinned distributions have."""
        pins = _single({pin for python in pythons for pin in self._pins(python)})
        oldest = min(pythons, key=lambda python: int(python.split(".")[1]))
        asked = self.dependencies.requested.only(pins)
        left_out: set[str] = set()
        answer = Answer()
        while pins:
            answer = self.index.survey(asked, oldest, without=left_out)
            self._no_wheels += answer.source_only
            self._missing += answer.missing
            if not answer.left_out - left_out:
                break
            left_out |= answer.left_out
        self._wheels = answer.wheels

    def _pins(self, python: str) -> Iterator[str]:
        requested = self._start(python)[1]
        for name, version in _direct(requested, python).items():
            if version:
                yield f"{name}=={version}"

    def _start(self, python: str) -> tuple[Outcome, Requested]:
        """The known answers for a Python, and the questions that are left."""
        lock, requested = self.dependencies.lock, self.dependencies.requested
        if lock is None:
            start = Outcome(python, complete=requested.is_complete, source_only=requested.archives)
        else:
            installed = [package for package in lock.installed(python) if not package.is_local]
            start = _of_lock(python, installed)
            asked = [p for p in installed if p.files is None and not p.is_vcs and p.version]
            requested = Requested(lines=tuple(package.pin for package in asked))
        return self._with_survey(start, requested), requested

    def _with_survey(self, start: Outcome, requested: Requested) -> Outcome:
        direct = _direct(requested, start.python)
        lacking = (
            f"{name}=={direct[name]}"
            for name, files in self._wheels.items()
            if name in direct and not _is_foreign(files) and not has_wheel(files, start.python)
        )
        without = (pin for pin in self._no_wheels if name_of(pin) in direct)
        source_only = (*start.source_only, *lacking, *without)
        return replace(start, source_only=source_only, missing=self._missing)

    def _outcome(
        self, python: str, best: Outcome | None, *, questions: int = MAX_QUESTIONS
    ) -> Outcome:
        """Ask until the rest resolves, but not once a Python is no better than `best`."""
        outcome, requested = self._start(python)
        if not requested.lines:
            return replace(outcome, is_finished=True)
        alone = self.dependencies.lock is not None
        for _ in range(questions):
            if best and outcome.rank >= best.rank:
                return outcome
            answer = self.index.ask(requested, python, without=outcome.left_out, alone=alone)
            news = answer.left_out - outcome.left_out
            outcome = outcome.with_answer(answer)
            self._missing = outcome.missing
            if not news:
                complete = outcome.complete and _is_whole(outcome, alone=alone)
                return replace(outcome, complete=complete, is_finished=not outcome.unreachable)
        return outcome

    def _confirmed(self, outcome: Outcome) -> Outcome:
        """Tell apart, of what the survey found without a wheel, what does not come as source."""
        unsure = {name_of(pin): pin for pin in outcome.source_only if name_of(pin) in self._wheels}
        asked = self.dependencies.requested.only(unsure.values())
        unfit: dict[str, str] = {}
        seen: set[str] = set()
        while len(seen) < len(unsure):
            answer = self.index.ask(asked, outcome.python, without=seen, alone=True)
            if not answer.left_out - seen:
                break
            seen |= answer.left_out
            unfit |= {name_of(pin): pin for pin in answer.unfit}
        source = tuple(pin for pin in outcome.source_only if name_of(pin) not in unfit)
        return replace(outcome, source_only=source, unfit=(*outcome.unfit, *unfit.values()))

    def _resolution(self, chosen: Outcome, tried: list[Outcome], why: str | None) -> Resolution:
        lock, requested = self.dependencies.lock, self.dependencies.requested
        packages = lock.installed(chosen.python) if lock else ()
        vcs = tuple(p.name for p in packages if p.is_vcs) if lock else requested.vcs
        return Resolution(
            python=chosen.python,
            why=why or _why(chosen, tried),
            source_only=_unique(chosen.source_only),
            versions=_versions(chosen, _direct(requested, chosen.python), vcs),
            complete=chosen.complete and chosen.is_finished,
            vcs=_unique(vcs),
            unreachable=_unreachable(tried),
            notes=tuple(_notes(chosen, tried)),
        )


def _single(pins: Iterable[str]) -> tuple[str, ...]:
    """Pins of names that have only one: others depend on the Python."""
    by_name: dict[str, list[str]] = {}
    for pin in pins:
        by_name.setdefault(name_of(pin), []).append(pin)
    return tuple(sorted(pins[0] for pins in by_name.values() if len(pins) == 1))


def _is_foreign(wheels: Iterable[str]) -> bool:
    """Whether all wheels are for other systems: there may be a source for this one, or not."""
    platforms = [tag.platform for file in wheels for tag in tags_of(file)]
    return bool(platforms) and all(p.startswith(("win", "macosx", "ios")) for p in platforms)


def _is_whole(outcome: Outcome, *, alone: bool) -> bool:
    """Whether nothing is left out whose own dependencies would count."""
    left_out = (*outcome.source_only, *outcome.unfit, *outcome.missing)
    return alone or not (left_out or outcome.conflict or outcome.unreachable)


def _of_lock(python: str, installed: Iterable[Locked]) -> Outcome:
    """The answers of the files in a lock."""
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
    """The requirements by name, with the version where it is pinned."""
    found: dict[str, str] = {}
    for line in requested.lines:
        requirement = parsed(line)
        if requirement and applies(str(requirement.marker or ""), python):
            found[name_of(requirement.name)] = pin_of(requirement)
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


def _unreachable(tried: list[Outcome]) -> str | None:
    return next((outcome.unreachable for outcome in tried if outcome.unreachable), None)


def _why(chosen: Outcome, tried: list[Outcome]) -> str:
    newer = [outcome for outcome in tried if _minor(outcome) > _minor(chosen)]
    if not chosen.is_finished:
        return f"nothing says which: the default, as {_unreachable(tried)}"
    if chosen.is_good:
        reason = f" ({_obstacle(newer[-1])})" if newer else ""
        return f"the newest for which every dependency has a wheel{reason}"
    if chosen.conflict:
        return "the newest; the dependencies resolve on no Python"
    why = "no Python has wheels for all dependencies; this one lacks the fewest"
    return f"{why} ({_obstacle(chosen)})"


def _minor(outcome: Outcome) -> int:
    return int(outcome.python.split(".")[1])


def _obstacle(outcome: Outcome) -> str:
    """The lack of one Python, by its first example."""
    pins = (*outcome.unfit, *outcome.source_only)
    if not pins and outcome.too_old:
        return f"{outcome.too_old[0][0]} does not run on {outcome.python}"
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
    for pin, newer in chosen.too_old:
        advice = f"depend on {newer}" if newer else "replace it, as no release of it does"
        yield f"{pin} installs on Python {chosen.python} and does not run on it: {advice}"
    for pin in _unique(chosen.missing):
        yield f"{pin} is not in the package index: correct its name or version"
    if chosen.conflict:
        yield f"the dependencies cannot be resolved: {chosen.conflict}"
    if old := python_version.warning(chosen.python):
        yield old
