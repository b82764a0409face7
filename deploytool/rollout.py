"""The order of a deployment, and what happens when a step fails.

    begin ▶ prepare ▶ release step ▶ start ▶ watch ▶ check routes ▶ clean up ▶ remember
                      │              │        └─ failed, timed out ▶ reverse ▶ watch, say why
                      │              └─ interrupted ▶ finish; the cluster goes on by itself, the
                      │                 next deploy takes it up
                      └─ failed ▶ finish; no replica was touched

Where services depend on one another, start and watch go in dependency order.

Nothing here knows which cluster it is.
"""

from __future__ import annotations

import getpass
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from deploytool.backends.base import (
    LIKELY,
    Action,
    Backend,
    Job,
    Outcome,
    Plan,
    Record,
    Refused,
    Rollout,
    ServiceProgress,
    Verdict,
)
from deploytool.backends.refused import refusal_hint
from deploytool.errors import (
    DeploytoolError,
    ImageError,
    Interrupted,
    JobFailed,
    JobTimedOut,
    RegistryError,
    RolledBack,
    RolloutFailed,
    RolloutTimedOut,
    UsageError,
)
from deploytool.image.reference import Reference
from deploytool.job import KEPT, Ended, follow_job, run_job
from deploytool.patience import patiently
from deploytool.records import history
from deploytool.spec import AppSpec, Image, Release, release_number
from deploytool.units import format_duration

POLL = 0.25
"""Seconds between two questions to the cluster, at most."""
STEP_NAME = "release-"
"""What the names of release steps on the cluster begin with; the release follows."""
ROUTES_TIMEOUT = 10.0
"""Seconds after which the proxy should know of every route."""
UNDO_TIMEOUT = 180.0
"""Seconds that the way back may take before it is given up."""
DONE = Verdict.DONE
FAILURES = {Verdict.FAILED, Verdict.ROLLED_BACK}

T = TypeVar("T")
Report = Callable[[Sequence[ServiceProgress]], None]


@dataclass(frozen=True)
class Deadline:
    """A moment that does not move when the clock is set."""

    at: float
    milliseconds: int

    @classmethod
    def after(cls, milliseconds: int) -> Deadline:
        return cls(time.monotonic() + milliseconds / 1000, milliseconds)

    @property
    def passed(self) -> bool:
        return time.monotonic() > self.at


@dataclass(frozen=True)
class Step:
    """Whether and how the release step runs."""

    emit: Callable[[str], None] = lambda _: None
    """Is given its output, line by line."""
    say: Callable[[str], None] = lambda _: None
    """Is told what is being done."""
    rerun: bool = False
    """Run it although it has run for this release."""


@dataclass(frozen=True)
class Result:
    """What a rollout came to. `release` is None where nothing had to change."""

    release: Release | None
    plan: Plan
    seconds: float
    waited: bool = True
    warnings: tuple[str, ...] = ()
    """What could not be found out."""

    @property
    def renewed(self) -> str:
        """The services that were given another login for their registry."""
        return ", ".join(change.name for change in self.plan.changes if change.renews_login)


def resolve_images(
    backend: Backend,
    spec: AppSpec,
    own: str | None,
    warn: Callable[[str], None] = lambda _: None,
) -> dict[str, Image]:
    """The image of every service by digest, each reference asked for once.

    `own` is the reference of the app's own image. `warn` is told which services keep the image that
    they run, as its registry does not say what the unchanged reference stands for. Raises
    ImageError, RegistryError.
    """
    from concurrent.futures import ThreadPoolExecutor

    references = {s.name: s.image or own or f"{spec.image}:latest" for s in spec.services}
    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = {ref: pool.submit(backend.resolve, ref) for ref in set(references.values())}
    failed = {
        ref: error
        for ref, future in asked.items()
        if isinstance(error := future.exception(), ImageError | RegistryError)
    }
    running = backend.running_images(spec.name) if failed else {}
    found: dict[str, Image] = {}
    for name, ref in references.items():
        if ref not in failed:
            found[name] = asked[ref].result()
            continue
        error = failed[ref]
        found[name] = _without_registry(backend, ref, running.get(name), error)
        if found[name].digest:
            warn(
                f"{name} keeps the image that it runs, {found[name].reference}: the registry "
                f"{Reference(ref).host} did not say which image {ref} is now. {error.message}"
            )
    return found


def _without_registry(
    backend: Backend, reference: str, running: Image | None, error: DeploytoolError
) -> Image:
    """The image that a service runs, while the configuration still names it so: no outage of a
    registry is a reason to touch it. Else one that no registry needs to know."""
    if running is not None and running.is_known_as(reference):
        return running
    local = backend.local_image(reference)
    if local is None:
        raise error
    return local


def new_release(
    spec: AppSpec, images: Mapping[str, Image], *, commit: str | None = None, note: str = ""
) -> Release:
    """A release that has no number yet."""
    return Release(
        number=0,
        spec=spec,
        images=dict(images),
        commit=commit,
        by=whoami(),
        at=datetime.now(UTC).replace(microsecond=0),
        note=note,
    )


def whoami() -> str:
    """user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def roll_out(
    backend: Backend,
    plan: Plan,
    release: Release,
    *,
    timeout: int,
    wait: bool = True,
    report: Report = lambda _: None,
    step: Step | None = None,
    guard: Callable[[], None] = lambda: None,
) -> Result:
    """Bring the cluster to a release and stay until every replica of it runs.

    `timeout` in milliseconds, the release step apart, which has its own. `step` is None where
    none is to run, `guard` raises when the lock is lost. Raises RolledBack, RolloutFailed,
    RolloutTimedOut, JobFailed, JobTimedOut, Interrupted; whatever is raised, the cluster
    remembers how it ended.
    """
    started = time.monotonic()
    release = release.model_copy(update={"secrets": plan.secrets})
    records = history.records(backend.store, release.spec.name)
    resumed = _unfinished(records, release)
    if not (plan.makes_release or resumed or _has_step_to_run(records, release, step)):
        with backend.rollout(plan) as rollout:
            if not plan.is_empty:
                guard()
                rollout.renew_logins()
            seconds = settle(backend, rollout, plan, timeout=timeout, report=report, guard=guard)
        return Result(None, plan, seconds)
    release = history.begin(backend.store, release)
    outcome = Outcome.INTERRUPTED
    serves = False
    rollout = backend.rollout(plan)
    try:
        rollout.prepare()
        if step is not None:
            run_step(backend, release, records, step, guard)
        guard()
        deadline = Deadline.after(timeout)
        turns = _Turns(rollout, plan, release)
        turns.begin()
        watch(rollout, deadline, report, turns, wait=wait, guard=guard)
        warnings = _check_routes(rollout, plan, guard) if wait else ()
        serves = True
        guard()
        rollout.finish()
        outcome = Outcome.DONE if wait else Outcome.STARTED
    except KeyboardInterrupt:
        raise interrupted(release) from None
    except _Unsuccessful as failure:
        try:
            earlier = _last_good(records, release)
            back = earlier if resumed else None
            error = _fail(backend, rollout, plan, release, failure, report, earlier, back, guard)
        except KeyboardInterrupt:
            raise interrupted(release) from None
        except DeploytoolError:
            outcome = Outcome.FAILED
            raise
        outcome = _outcome(error)
        raise error from None
    except DeploytoolError as error:
        outcome = _outcome(error)
        if not serves:
            with suppress(DeploytoolError):
                guard()
                rollout.reverse().start()
        raise
    finally:
        rollout.__exit__(None, None, None)
        _finish(backend, release, outcome, time.monotonic() - started)
    return Result(release, plan, time.monotonic() - started, wait, warnings)


def run_step(
    backend: Backend,
    release: Release,
    records: Sequence[Record],
    step: Step,
    guard: Callable[[], None],
) -> None:
    """Run the release step, unless it has run for a release of the same content.

    Raises JobFailed or JobTimedOut; no replica has been touched then.
    """
    spec = release.spec
    wanted = spec.release
    if wanted is None:
        return
    if not step.rerun and any(r.stepped and r.is_of(release) for r in records):
        step.say(f"The release step has run for this release already: {shlex.join(wanted.command)}")
        return
    what = f"The release step of {release.id}"
    job = Job(
        name=f"{STEP_NAME}{release.id}",
        release=release,
        service=spec.step_service,
        command=wanted.command,
    )
    _await_other_steps(backend, job, wanted.timeout, step, guard)
    step.say(f"Release step: {shlex.join(wanted.command)}")

    def remember(ended: Ended) -> None:
        if ended.exit_code == 0:
            history.stepped(backend.store, release)

    ended = run_job(
        backend,
        job,
        timeout=wanted.timeout,
        emit=step.emit,
        what=what,
        guard=guard,
        keep=True,
        ended=remember,
    )
    if ended.exit_code != 0:
        service = next(s for s in spec.services if s.name == spec.step_service)
        told = refusal_hint(service.name, ended.lines, has_read_only_files=service.read_only)
        raise JobFailed(
            f"{what} ended with exit code {ended.exit_code}; no replica was touched",
            code="release_step_failed",
            hint=f"{told or 'fix it'}; then deploy again: it runs again, as it did not succeed",
            details=ended.lines[-KEPT:],
        )


def _await_other_steps(
    backend: Backend, job: Job, timeout: int, step: Step, guard: Callable[[], None]
) -> None:
    """Two migrations at once are one too many: a deploy that was killed may have left one."""
    for name in backend.jobs(job.release.spec.name):
        if name == job.name or not name.startswith(STEP_NAME):
            continue
        other = job.model_copy(update={"name": name})
        what = f"The release step of {name.removeprefix(STEP_NAME)}, left by an earlier deploy,"
        step.say(f"Waiting for the release step of {name.removeprefix(STEP_NAME)}, still there")
        follow_job(backend, other, timeout=timeout, emit=step.emit, what=what, guard=guard)


def _finish(backend: Backend, release: Release, outcome: Outcome, seconds: float) -> None:
    """Remember how it ended. Where that fails after a failure, the first is what is told."""
    try:
        history.finish(backend.store, release, outcome, seconds)
        backend.collect_garbage(release.spec.name)
    except DeploytoolError:
        if outcome in (Outcome.DONE, Outcome.STARTED):
            raise


def _unfinished(records: Sequence[Record], release: Release) -> Record | None:
    """The newest release, if nobody finished it and it is this one."""
    for record in records[-1:]:
        open_end = record.outcome in (Outcome.STARTED, Outcome.INTERRUPTED)
        return record if open_end and record.is_of(release) else None
    return None


def _has_step_to_run(records: Sequence[Record], release: Release, step: Step | None) -> bool:
    """Whether the release step alone makes a release: it is another one, or was asked for."""
    if step is None or release.spec.release is None:
        return False
    good = [r.release.spec.release for r in records if r.outcome is Outcome.DONE]
    return step.rerun or not good or good[-1] != release.spec.release


def _last_good(records: Sequence[Record], release: Release) -> Release | None:
    good = [r.release for r in records if r.outcome is Outcome.DONE]
    return next((r for r in reversed(good) if r.number < release.number), None)


class _Unsuccessful(Exception):
    """What `watch` saw that is not success."""

    def __init__(
        self,
        seen: Sequence[ServiceProgress],
        *,
        timed_out: bool = False,
        of_replicas: bool = True,
    ) -> None:
        super().__init__()
        self.seen = seen
        self.timed_out = timed_out
        self.of_replicas = of_replicas
        """Whether a replica may have failed."""


class _Turns:
    """Which services may change when: each as soon as those that it depends on are done, those
    without an order between them at once."""

    def __init__(self, rollout: Rollout, plan: Plan, release: Release) -> None:
        self.start: Callable[[set[str]], None] = partial(rollout.start, release)
        changing = [c for c in plan.changes if c.action in (Action.CREATE, Action.UPDATE)]
        self.waiting = {c.name for c in changing if c.kind == "service"}
        """Services that change and that the cluster was not told of."""
        self.open: set[str] = set()
        """Services whose turn has come and that are not done; unchanged ones too."""
        self.order = release.spec.order()
        self.order.prepare()
        self.depends_on = {s.name: s.depends_on for s in release.spec.services}

    def begin(self) -> None:
        self.start(self._next())

    def _next(self) -> set[str]:
        """The services to tell the cluster of now."""
        turn = set(self.order.get_ready())
        self.open |= turn
        told = self.waiting & turn
        self.waiting -= told
        return told

    def go_on(self, seen: Sequence[ServiceProgress]) -> Sequence[ServiceProgress]:
        """Tell the cluster of those that waited for what is done now, unless something failed.
        What it had not been told of when it was asked is moving, whatever it looked like."""
        if not self.waiting:
            return seen
        untold = frozenset(self.waiting)
        verdicts = {p.service: p.verdict for p in seen if p.service not in untold}
        told: set[str] = set()
        if not FAILURES & set(verdicts.values()):
            while done := {s for s in self.open - untold if verdicts.get(s, DONE) is DONE}:
                self.open -= done
                self.order.done(*done)
                told |= self._next()
        if told:
            self.start(told)
        return [self._moving(p) if p.service in untold else p for p in seen]

    def _moving(self, progress: ServiceProgress) -> ServiceProgress:
        waits = ", ".join(sorted(self.depends_on[progress.service]))
        reason = f"waits for {waits}" if progress.service in self.waiting else ""
        return progress.model_copy(update={"verdict": Verdict.MOVING, "reason": reason})


def watch(
    rollout: Rollout,
    deadline: Deadline,
    report: Report,
    turns: _Turns | None = None,
    *,
    wait: bool = True,
    guard: Callable[[], None] = lambda: None,
) -> None:
    """Wait until every service is done; without `wait`, until each had its turn. Raises
    _Unsuccessful when one has failed for good and none is still being rolled back by the cluster,
    or when the deadline passes."""
    while wait or (turns and turns.waiting):
        guard()
        looked = patiently(rollout.observe)
        seen = turns.go_on(looked) if turns else looked
        report(seen)
        verdicts = {progress.verdict for progress in seen}
        if verdicts <= {DONE}:
            return
        if verdicts & FAILURES:
            raise _Unsuccessful(seen)
        if deadline.passed:
            raise _Unsuccessful(seen, timed_out=True)
        if any(progress.stalled for progress in seen):
            guard()
            patiently(rollout.recover)
        rollout.wait_for_change(POLL)


def _check_routes(rollout: Rollout, plan: Plan, guard: Callable[[], None]) -> tuple[str, ...]:
    """Whether callers reach the app: every URL is asked for through the proxy. What could not be
    found out, in words. Raises _Unsuccessful where the proxy answers in place of the app."""
    give_up = time.monotonic() + ROUTES_TIMEOUT
    found = patiently(rollout.check_routes)
    while (found.refused or found.unsure) and time.monotonic() < give_up:
        guard()
        time.sleep(POLL)
        found = patiently(rollout.check_routes)
    if found.refused:
        raise _Unsuccessful([_unreached(refused) for refused in found.refused], of_replicas=False)
    if found.unchecked:
        return (f"whether callers reach {plan.app} was not checked: {found.unchecked}",)
    if found.unsure:
        urls = ", ".join(found.unsure)
        return (f"{urls} answers 404 as the proxy does where it has no route: look whether it is",)
    return ()


def _unreached(refused: Refused) -> ServiceProgress:
    reason = f"the proxy itself answers {refused.status} to {refused.url}"
    return ServiceProgress(
        service=refused.service, verdict=Verdict.FAILED, wanted=0, ready=0, reason=reason
    )


def _fail(
    backend: Backend,
    rollout: Rollout,
    plan: Plan,
    release: Release,
    failure: _Unsuccessful,
    report: Report,
    earlier: Release | None,
    back: Release | None,
    guard: Callable[[], None],
) -> DeploytoolError:
    """Go back, unless the configuration wants to look at it first, and say what happened.

    `earlier` is the last good release. `back` is it too where an earlier deploy of the same release
    began the work: it is what to go back to then, as `plan` does not know all that was changed.
    """
    found = _evidence(backend, rollout) if failure.of_replicas else []
    reason, *evidence = found or [_reason(failure)]
    if _stay(release.spec, failure):
        return RolloutFailed(
            f"{release.id} of {plan.app} failed and was left as it is: {reason}",
            code="rollout_paused",
            hint="look at `deploytool status`; then deploy a fixed version, or "
            + (f"`deploytool rollback` to {earlier.id}" if earlier else "`deploytool destroy`"),
            details=evidence,
        )
    if plan.is_empty and back is None:
        return _nothing_to_undo(plan, release, failure, reason, evidence)
    try:
        is_back = _go_back(backend, rollout, back, report, guard)
    except DeploytoolError as error:
        is_back = False
        evidence.append(f"going back: {error.message}")
    had_before = back is not None or any(
        c.kind == "service" and c.action is not Action.CREATE for c in plan.changes
    )
    state = _state_after(had_before=had_before, is_back=is_back)
    message = f"{release.id} of {plan.app} {_what(failure)}; {state}: {reason}"
    if failure.timed_out:
        return RolloutTimedOut(
            message,
            code="timed_out",
            hint="give it longer with --timeout, or look at the reason",
            details=evidence,
        )
    kind = RolledBack if had_before and is_back else RolloutFailed
    likely, details = _likely(evidence)
    return kind(
        message,
        code="rolled_back" if kind is RolledBack else "rollout_failed",
        hint=f"{likely}; then deploy again" if likely else "fix the cause and deploy again",
        details=details,
    )


def _likely(evidence: Sequence[str]) -> tuple[str, list[str]]:
    """What to do, where that is known, and the rest of what is known."""
    likely = next((line for line in evidence if line.startswith(LIKELY)), "")
    return likely, [line for line in evidence if line != likely]


def _nothing_to_undo(
    plan: Plan, release: Release, failure: _Unsuccessful, reason: str, evidence: list[str]
) -> DeploytoolError:
    """A release that was taken up again: what was before it is not known here any more."""
    kind = RolloutTimedOut if failure.timed_out else RolloutFailed
    return kind(
        f"{release.id} of {plan.app} {_what(failure)} and was left as it is: {reason}",
        code="timed_out" if failure.timed_out else "rollout_failed",
        hint="`deploytool rollback` goes back to the release before; or deploy a fixed version",
        details=evidence,
    )


def _what(failure: _Unsuccessful) -> str:
    return "did not get done in time" if failure.timed_out else "failed"


def _state_after(*, had_before: bool, is_back: bool) -> str:
    if not is_back:
        return "going back is not done yet, see `deploytool status`"
    return "the previous release serves" if had_before else "it was a first deploy, now removed"


def _stay(spec: AppSpec, failure: _Unsuccessful) -> bool:
    failed = {p.service for p in failure.seen if p.verdict is Verdict.FAILED}
    return any(s.name in failed and s.update.on_failure == "pause" for s in spec.services)


def _go_back(
    backend: Backend,
    rollout: Rollout,
    back: Release | None,
    report: Report,
    guard: Callable[[], None],
) -> bool:
    """Reverse a rollout, which is a rollout too; whether it is done. `back` is rolled out instead
    where it was begun twice: it cannot be reversed by what its second half changed."""
    guard()
    if back is None:
        reversal, release = rollout.reverse(), None
    else:
        plan = backend.plan(back.spec, back.images, secrets=back.secrets)
        reversal, release = backend.rollout(plan), back
    with reversal:
        reversal.start(release)
        try:
            watch(reversal, Deadline.after(int(UNDO_TIMEOUT * 1000)), report, guard=guard)
        except _Unsuccessful:
            return False
        guard()
        reversal.finish()
    return True


def _reason(failure: _Unsuccessful) -> str:
    """One line: the first service that failed, and why."""
    for progress in failure.seen:
        if progress.verdict in (Verdict.FAILED, Verdict.ROLLED_BACK) and progress.reason:
            return f"{progress.service}: {progress.reason}"
    late = [p for p in failure.seen if p.verdict is Verdict.MOVING]
    states = ", ".join(
        f"{p.service} {p.reason or f'has {p.ready} of {p.wanted} replicas ready'}" for p in late
    )
    return states or "the cluster gave no reason"


def _evidence(backend: Backend, rollout: Rollout) -> list[str]:
    """What is known about the newest failed replica of each service."""
    newest = {task.service: task for task in rollout.failures()}
    return [line for task in newest.values() for line in backend.explain(task)]


def _outcome(error: DeploytoolError) -> Outcome:
    if isinstance(error, RolledBack):
        return Outcome.ROLLED_BACK
    late = isinstance(error, RolloutTimedOut | JobTimedOut)
    return Outcome.TIMED_OUT if late else Outcome.FAILED


def interrupted(release: Release) -> Interrupted:
    return Interrupted(
        f"Interrupted during {release.id}: the cluster goes on with what it was told",
        code="interrupted",
        hint="`deploytool status --watch` shows it; `deploytool deploy` finishes it, "
        "`deploytool rollback` takes it back",
    )


def settle(
    backend: Backend,
    rollout: Rollout,
    plan: Plan,
    *,
    timeout: int,
    report: Report,
    guard: Callable[[], None] = lambda: None,
) -> float:
    """Wait for a change that is no release: a scale, a restart. Seconds it took.

    Raises RolloutFailed or RolloutTimedOut; the change stays, as the operator asked for it.
    """
    started = time.monotonic()
    try:
        watch(rollout, Deadline.after(timeout), report, guard=guard)
    except _Unsuccessful as failure:
        likely, details = _likely(_evidence(backend, rollout))
        if failure.timed_out:
            raise RolloutTimedOut(
                f"{plan.app} was not done after {format_duration(timeout)}: {_reason(failure)}",
                code="timed_out",
                hint="`deploytool status --watch` shows how it goes on",
                details=details,
            ) from None
        raise RolloutFailed(
            f"{plan.app} did not come up: {_reason(failure)}",
            code="rollout_failed",
            hint=likely or "`deploytool status` and `deploytool logs` show more",
            details=details,
        ) from None
    return time.monotonic() - started


def running_release(backend: Backend, app: str) -> int:
    """The number of the newest release that a service is of; 0 where there is none."""
    try:
        return release_number(backend.status(app).release)
    except UsageError:
        return 0


def one_off(
    backend: Backend,
    app: str,
    command: tuple[str, ...],
    *,
    service: str | None,
    timeout: int,
    emit: Callable[[str], None],
    guard: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command once in a container of the current release; `timeout` in milliseconds. It is
    stopped where `guard`, which is asked until it has ended, raises.

    Raises UsageError where the app or the service does not exist, JobFailed, JobTimedOut.
    """
    release = history.current_release(history.records(backend.store, app), app)
    names = [s.name for s in release.spec.services]
    if service is not None and service not in names:
        raise UsageError(
            f"{app} has no service {service}",
            code="unknown_service",
            hint=f"there are: {', '.join(names)}",
        )
    job = Job(
        name=f"run-{secrets.token_hex(4)}",
        release=release,
        service=service or release.spec.step_service or names[0],
        command=command,
    )
    what = shlex.join(command[:1])
    return run_job(backend, job, timeout=timeout, emit=emit, what=what, guard=guard)
