"""Workers that are found in the source itself: Celery, arq, taskiq, RQ, Dramatiq and Huey."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from deploytool.discover.names import Names
from deploytool.discover.processes.command_lines import SCHEDULE_FILE
from deploytool.discover.processes.makers import Made, Makers
from deploytool.discover.processes.place import Place
from deploytool.discover.source import ASIDE, Assigned, Function, Imported, Scope

MENTIONS = re.compile(r"\b(celery|arq|taskiq\w*|rq|dramatiq|huey)\b")
NEAR = re.compile(r"://(?:[^/@\s]*@)?(localhost|127\.0\.0\.1)\b")


@dataclass(frozen=True)
class Found:
    """A process that the source asks for."""

    name: str
    command: tuple[str, ...]
    why: str
    module: str
    notes: tuple[str, ...] = ()
    is_certain: bool = True


class Queues:
    """Reads the modules that the app's import root has."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.names = Names(place.project)
        self.makers = Makers(self.names)

    def find(self) -> Iterator[Found]:
        """The workers of each kind that the source has, and what goes with them."""
        kinds: tuple[tuple[str, Callable[[], Iterator[Found]]], ...] = (
            ("celery", self._celery),
            ("arq", self._arq),
            ("taskiq", self._taskiq),
            ("rq", self._rq),
            ("dramatiq", self._dramatiq),
            ("huey", self._huey),
        )
        for name, find in kinds:
            if any(name in mentioned for _, mentioned in self.modules):
                yield from find()

    @cached_property
    def modules(self) -> tuple[tuple[Scope, frozenset[str]], ...]:
        """The files that mention a queue, and which."""
        found = []
        for file in self.place.project.python_files:
            mentioned = self._mentioned(file)
            if mentioned and (scope := self.place.project.scope(file)):
                found.append((scope, mentioned))
        return tuple(found)

    def _mentioned(self, file: PurePosixPath) -> frozenset[str]:
        below = file.is_relative_to(self.place.root) and ASIDE.isdisjoint(file.parts)
        if not below or not all(part.isidentifier() for part in self._parts(file)):
            return frozenset()
        words = MENTIONS.findall(self.place.project.text(file) or "")
        return frozenset("taskiq" if word.startswith("taskiq") else word for word in words)

    def _parts(self, file: PurePosixPath) -> tuple[str, ...]:
        parts = file.relative_to(self.place.root).with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts

    def _module(self, scope: Scope) -> str:
        return ".".join(self._parts(scope.file))

    def _scopes(self, kind: str) -> Iterator[Scope]:
        yield from (scope for scope, mentioned in self.modules if kind in mentioned)

    def _made(self, kind: str) -> Iterator[tuple[Scope, str, Made]]:
        """The module-level objects that a distribution's own classes made."""
        for scope in self._scopes(kind):
            for name, bindings in scope.names.items():
                for binding in bindings:
                    if isinstance(binding, Assigned):
                        calls = self.makers.calls(binding.value, scope)
                        yield from ((scope, name, made) for made in calls)

    def _one(self, found: list[tuple[Scope, str, Made]]) -> bool:
        return len({(scope.file, name) for scope, name, _ in found}) == 1

    # --- Celery -----------------------------------------------------------------------------

    def _celery(self) -> Iterator[Found]:
        apps = [one for one in self._made("celery") if one[2].name in CELERY]
        certain = self._one(apps)
        for scope, name, made in apps:
            target = f"{self._module(scope)}:{name}"
            why = f"{name} in {scope.file} is a Celery app"
            command = ("celery", "-A", target, "worker")
            notes = self._near(made, scope)
            yield Found("worker", command, why, self._module(scope), notes, certain)
            yield from self._beat(target, self._module(scope)) if certain else ()

    def _beat(self, target: str, module: str) -> Iterator[Found]:
        for scope in self._scopes("celery"):
            if re.search(r"beat_schedule\b|on_after_configure", self._text(scope)):
                command = ("celery", "-A", target, "beat", "--schedule", SCHEDULE_FILE)
                why = f"{scope.file} has periodic tasks, which Celery's beat starts in one replica"
                yield Found("beat", command, why, module, (), False)
                return

    def _near(self, made: Made, scope: Scope) -> tuple[str, ...]:
        """A broker at an address that means the container itself."""
        value = made.argument("broker", "broker_url")
        url = self._default(value, made.scope) if value is not None else None
        near = NEAR.search(url or "")
        if not near:
            return ()
        scheme = (url or "").partition(":")[0]
        return (
            f"{scope.file} has the broker at {scheme}://{near[1]}, which a container takes for "
            "itself: set the real address in env of web and worker, and read it from there",
        )

    def _default(self, value: ast.expr, scope: Scope) -> str | None:
        """The text of a value, or that which it is without the environment."""
        if isinstance(value, ast.Name):
            for binding in scope.names.get(value.id, ()):
                if isinstance(binding, Assigned) and isinstance(binding.value, ast.Call):
                    value = binding.value
        if isinstance(value, ast.Call) and len(value.args) == 2:
            return self.names.text(value.args[1], scope)
        return self.names.text(value, scope)

    def _text(self, scope: Scope) -> str:
        return self.place.project.text(scope.file) or ""

    # --- the others -------------------------------------------------------------------------

    def _arq(self) -> Iterator[Found]:
        classes = [
            (scope, binding.name)
            for scope in self._scopes("arq")
            for bindings in scope.names.values()
            for binding in bindings
            if isinstance(binding, ast.ClassDef) and _is_arq_settings(binding)
        ]
        for scope, name in classes:
            target = f"{self._module(scope)}.{name}"
            why = f"{name} in {scope.file} is what arq runs"
            yield Found("worker", ("arq", target), why, self._module(scope), (), len(classes) == 1)

    def _taskiq(self) -> Iterator[Found]:
        made = list(self._made("taskiq"))
        brokers = [one for one in made if _is_taskiq_broker(one[2].name)]
        for scope, name, _ in brokers:
            target = f"{self._module(scope)}:{name}"
            tasks = self._users(scope, name, "task")
            why = f"{name} in {scope.file} is a broker of taskiq"
            command = ("taskiq", "worker", target, *tasks)
            yield Found("worker", command, why, self._module(scope), (), self._one(brokers))
        yield from self._taskiq_schedulers(made)

    def _taskiq_schedulers(self, made: list[tuple[Scope, str, Made]]) -> Iterator[Found]:
        for scope, name, one in made:
            if one.name.endswith(".TaskiqScheduler"):
                command = ("taskiq", "scheduler", f"{self._module(scope)}:{name}")
                why = f"{scope.file} has a scheduler of taskiq, which runs in one replica"
                yield Found("scheduler", command, why, self._module(scope), (), False)

    def _users(self, scope: Scope, name: str, decorator: str) -> tuple[str, ...]:
        """The other modules that mark functions as an object's tasks."""
        return tuple(
            sorted(
                self._module(user)
                for user in self._importers(scope, name)
                if any(_is_marked(node, name, decorator) for node in user.body)
            )
        )

    def _importers(self, scope: Scope, name: str) -> Iterator[Scope]:
        """The modules that import an object by its name."""
        for file in self.place.project.python_files:
            if name not in (self.place.project.text(file) or ""):
                continue
            user = self.place.project.scope(file)
            if user and user is not scope and file.is_relative_to(self.place.root):
                for binding in user.names.get(name, ()):
                    if isinstance(binding, Imported) and self._means(binding, user, scope):
                        yield user

    def _means(self, imported: Imported, user: Scope, scope: Scope) -> bool:
        place = self.place.project.locate(imported.module, user.file, imported.level)
        return place is not None and place[0] == scope.file

    def _rq(self) -> Iterator[Found]:
        queues = {}
        for scope, _, made in self._made("rq"):
            if made.name in ("rq.Queue", "rq.queue.Queue"):
                value = made.call.args[0] if made.call.args else made.argument("name")
                name = self.names.text(value, made.scope) if value is not None else "default"
                queues[name or "default"] = scope
        if queues:
            scope = next(iter(queues.values()))
            why = f"{scope.file} has queues of RQ, whose worker reads the address in RQ_REDIS_URL"
            command = ("rq", "worker", *sorted(queues))
            yield Found("worker", command, why, self._module(scope), (), False)

    def _dramatiq(self) -> Iterator[Found]:
        actors, brokers = [], []
        for scope in self._scopes("dramatiq"):
            text = self._text(scope)
            actors += [scope] if any(_is_marked(n, None, "actor") for n in scope.body) else []
            brokers += [scope] if "set_broker(" in text else []
        if actors:
            scopes = dict.fromkeys(map(self._module, (*brokers, *actors)))
            why = f"{actors[0].file} has actors of Dramatiq"
            command = ("dramatiq", *scopes)
            yield Found("worker", command, why, self._module(actors[0]))

    def _huey(self) -> Iterator[Found]:
        made = [one for one in self._made("huey") if HUEY.fullmatch(one[2].name)]
        for scope, name, _ in made:
            users = self._users(scope, name, "task") + self._users(scope, name, "periodic_task")
            module = next(iter(users), self._module(scope))
            command = ("python", "-m", "huey.bin.huey_consumer", f"{module}.{name}")
            why = f"{name} in {scope.file} is a queue of Huey"
            certain = self._one(made) and len(set(users)) < 2
            yield Found("worker", command, why, module, (), certain)


CELERY = frozenset({"celery.Celery", "celery.app.Celery", "celery.app.base.Celery"})
HUEY = re.compile(r"huey\.(\w+\.)*\w*Huey")


def _is_arq_settings(node: ast.ClassDef) -> bool:
    names = {
        target.id
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        )
        if isinstance(target, ast.Name)
    }
    return not names.isdisjoint({"functions", "cron_jobs"}) and (
        "redis_settings" in names or node.name.endswith("WorkerSettings")
    )


def _is_taskiq_broker(name: str) -> bool:
    return name.startswith("taskiq") and name.endswith("Broker") and "InMemory" not in name


def _is_marked(node: ast.stmt, name: str | None, decorator: str) -> bool:
    """Whether a function has `@NAME.decorator` or `@NAME.decorator(…)`."""
    for one in node.decorator_list if isinstance(node, Function) else ():
        target = one.func if isinstance(one, ast.Call) else one
        match target:
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
                if attribute == decorator and name in (None, owner):
                    return True
            case ast.Name(id=plain) if name is None and plain == decorator:
                return True
    return False
