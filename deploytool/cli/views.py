"""How plans, rollouts and replicas look to a person."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploytool.backends.model import (
    Action,
    Amount,
    Capacity,
    Change,
    FieldChange,
    Level,
    Need,
    NodeCapacity,
    Plan,
    Record,
    ServiceCapacity,
    ServiceProgress,
    Share,
    Status,
    Task,
    Verdict,
)
from deploytool.printable import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from deploytool.output import Output
    from deploytool.rollout.watch import Report

SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.REMOVE: "-", Action.KEEP: " "}
STYLES = {
    Action.CREATE: "added",
    Action.UPDATE: "changed",
    Action.REMOVE: "removed",
    Action.KEEP: "quiet",
}
STATE_STYLES = {"running": "good", "failed": "bad", "rejected": "bad", "orphaned": "bad"}
WIDTH = 90
"""Characters of a value that are shown."""
DIGEST = re.compile(r"(@sha256:[0-9a-f]{12})[0-9a-f]{52}")
"""A digest, and as much of it as tells two of them apart."""
HEADLINES = ("image", "mode", "replicas", "memory", "memory_limit", "cpu", "cpu_limit", "publish")
"""Fields of a new service that are worth showing when all would be too much."""


def show_plan(console: Console, plan: Plan, *, verbose: bool) -> None:
    """The plan as lines that start with what happens: + ~ - or nothing."""
    from rich.text import Text

    for change in plan.changes:
        sign = Text(f"{SIGNS[change.action]} {change.kind} {change.name}", STYLES[change.action])
        sign.append(f"  {_summary(change)}", "quiet")
        console.print(sign)
        for field in change.fields:
            if change.action is Action.CREATE and not verbose and field.path not in HEADLINES:
                continue
            before, after = _texts(field)
            line = Text(f"    {field.path}  ")
            if before:
                line.append(before, "removed")
                line.append(" → ")
            console.print(line.append(after or "none", "added"))
    if plan.need and not plan.is_empty:
        console.print(Text(f"  capacity  {need_text(plan.need)}", "quiet"))
    console.print(counts(plan), style="name")


def _summary(change: Change) -> str:
    if change.kind == "route":
        return "taken over"
    if change.action is Action.UPDATE:
        return _replacement(change) if change.replaces else "keeps its replicas"
    return {Action.CREATE: "new", Action.REMOVE: "no longer wanted", Action.KEEP: "unchanged"}[
        change.action
    ]


def _replacement(change: Change) -> str:
    if change.serving is None:
        return "replaces its replicas"
    least, number = change.serving
    return f"replaces its replicas; at least {least} of {number} serve meanwhile"


def counts(plan: Plan) -> str:
    words = ((Action.CREATE, "to create"), (Action.UPDATE, "to change"))
    parts = [f"{plan.count(action)} {word}" for action, word in words]
    return ", ".join([*parts, f"{plan.count(Action.REMOVE)} to remove"])


def need_text(need: Need) -> str:
    """What a deploy reserves and what there is, in a line."""
    same = need.before == need.after
    text = f"reserves {'' if same else f'{amount(need.before)} → '}{amount(need.after)}"
    if need.most not in (need.before, need.after):
        text += f", at most {amount(need.most)} on the way"
    return f"{text}; {amount(need.free)} free now"


def amount(value: Amount) -> str:
    """Memory and cores; "nothing" where it is neither."""
    parts = (memory(value.memory) if value.memory else "", cores(value.cpu) if value.cpu else "")
    return " and ".join(part for part in parts if part) or "nothing"


def memory(size: float) -> str:
    """Bytes, as exact as one looks at them: 7.8GiB, 512MiB."""
    if size >= 2**30:
        return f"{size / 2**30:.1f}".removesuffix(".0") + "GiB"
    return f"{size / 2**20:.1f}".removesuffix(".0") + "MiB"


def cores(count: float) -> str:
    number = f"{count:.2f}".rstrip("0").rstrip(".")
    return f"{number} core{'' if number == '1' else 's'}"


LEVELS = {Level.BELOW: "busy", Level.WITHIN: "good", Level.ABOVE: "bad"}
ADVICE = {
    Level.BELOW: "fewer or smaller nodes would do, or more replicas fit",
    Level.WITHIN: "well used",
    Level.ABOVE: "add a node, or run less: what is full kills processes and lets requests wait",
}


def show_capacity(console: Console, found: Capacity) -> None:
    """Two lines per node, what more fits, and what to make of it."""
    from rich.table import Table
    from rich.text import Text

    low, high = (f"{share:.0%}" for share in found.band)
    table = Table(box=None, pad_edge=False, header_style="quiet")
    for title in ("node", "", "has", "reserved", "free", "used", f"{low} to {high}"):
        table.add_column(title)
    for node in found.nodes:
        state = "" if node.state == "active" else f" ({node.state})"
        table.add_row(Text(f"{node.node}{state}", "name"), *_share_row("memory", node.memory))
        table.add_row("", *_share_row("cores", node.cpu))
    console.print(table)
    if found.services:
        console.print(_fits_table(found))
    if reasons := sorted({node.unmeasured for node in found.nodes if node.unmeasured}):
        console.print(Text(f"? {', '.join(reasons)}: docker --host ssh://NODE stats", "quiet"))
    together = f"memory {_taken(found.memory)}, cores {_taken(found.cpu)}"
    console.print(Text("All nodes together are ", "name"), end="")
    console.print(Text(f"{found.level} {low} to {high}", LEVELS[found.level]), end="")
    console.print(Text(f" ({together}): {ADVICE[found.level]}"))


def _taken(share: Share) -> str:
    if share.used is not None:
        return f"{_percent(share.used, share.total)} used"
    return f"{_percent(share.reserved, share.total)} reserved"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "0%"


def _share_row(name: str, share: Share) -> Iterator[RenderableType]:
    from rich.text import Text

    say = memory if name == "memory" else _bare
    yield name
    yield say(share.total)
    yield f"{say(share.reserved)}  {_percent(share.reserved, share.total)}"
    yield say(share.free)
    yield "?" if share.used is None else f"{say(share.used)}  {_percent(share.used, share.total)}"
    by = " by what is reserved" if share.used is None else ""
    yield Text(str(share.level), LEVELS[share.level]) + Text(by, "quiet")


def _bare(count: float) -> str:
    return cores(count).partition(" ")[0]


def _fits_table(found: Capacity) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="quiet")
    for title in ("service", "reserves", "uses on average", "more replicas that fit"):
        table.add_column(title)
    for service in found.services:
        table.add_row(
            Text(service.service, "name"),
            amount(service.reserved),
            _use(service),
            _more(service, found.nodes),
        )
    return table


def _use(service: ServiceCapacity) -> str:
    if service.used is None:
        return "?"
    return f"{amount(service.used)} (measured: {service.measured})"


def _more(service: ServiceCapacity, nodes: Sequence[NodeCapacity]) -> str:
    if service.fits is None:
        return "no limit is known, as it reserves nothing"
    each = ", ".join(f"{node.node} {node.fits[service.service]}" for node in nodes)
    return f"{service.fits} ({each})"


def _texts(field: FieldChange) -> tuple[str, str]:
    """Both values of a field, short enough to be read: of long ones what differs."""
    before, after = (_text(value) for value in (field.before, field.after))
    if max(len(before), len(after)) <= WIDTH:
        return before, after
    same = next((i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), 0)
    start = max(0, same - WIDTH // 4)
    return _excerpt(before, start), _excerpt(after, start)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return shlex.join(value)
    if isinstance(value, str) and value:
        return DIGEST.sub(r"\1…", value)
    return json.dumps(value, ensure_ascii=False)


def _excerpt(text: str, start: int) -> str:
    end = start + WIDTH
    return f"{'…' if start else ''}{text[start:end]}{'…' if text[end:] else ''}"


@contextmanager
def rollout_view(output: Output) -> Iterator[Report]:
    """What people watch while replicas move: a table on a terminal, lines in a log."""
    said: dict[str, str] = {}
    with output.live() as redraw:

        def report(found: Sequence[ServiceProgress]) -> None:
            seen = [_without_turn(progress) for progress in found]
            first_look = not said
            for progress in seen:
                for task in progress.tasks:
                    line = _news(said, task, first_look=first_look, everything=redraw is None)
                    if line:
                        output.line(line)
                reason = progress.reason if progress.verdict is Verdict.MOVING else ""
                if redraw is None and reason and said.get(progress.service) != reason:
                    said[progress.service] = reason
                    output.line(f"{progress.service} {reason}")
            if redraw is not None:
                redraw(_progress_table(seen))

        yield report


def _without_turn(progress: ServiceProgress) -> ServiceProgress:
    """Without the reason why a replica finds no node, where it waits for one that is leaving: it
    is its turn next."""
    if not any(not task.dead and not (task.wanted and task.current) for task in progress.tasks):
        return progress
    tasks = tuple(
        task.model_copy(update={"message": ""}) if task.state == "pending" else task
        for task in progress.tasks
    )
    return progress.model_copy(update={"tasks": tasks})


def _news(said: dict[str, str], task: Task, *, first_look: bool, everything: bool) -> str:
    """A line when a replica has moved on; empty when it has not. On a terminal, where the table
    shows the rest, only what went wrong is news."""
    before = said.get(task.id)
    now = f"{task.state}: {task.message}" if task.message else task.state
    said[task.id] = now
    went_wrong = task.state in ("failed", "rejected", "orphaned")
    old = before is None and (
        (task.dead and not (went_wrong and task.current)) or (first_look and task.running)
    )
    if before == now or old or not (went_wrong or everything):
        return ""
    return f"{task.name}{_on(task)} {now}"


def _on(task: Task) -> str:
    return f" on {task.node}" if task.slot and task.node else ""


def _progress_table(seen: Sequence[ServiceProgress]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for progress in seen:
        style = {Verdict.DONE: "good", Verdict.MOVING: "busy"}.get(progress.verdict, "bad")
        table.add_row(
            Text(progress.service, "name"),
            _bar(progress, style),
            Text(f"{progress.ready}/{progress.wanted}", style),
            Text(progress.reason, "quiet"),
        )
    details = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
    for progress in seen:
        for task in progress.tasks:
            if task.wanted and progress.verdict is not Verdict.DONE:
                details.add_row(
                    Text(task.name),
                    Text(task.release, "quiet"),
                    Text(task.state, STATE_STYLES.get(task.state, "busy")),
                    Text(task.node, "quiet"),
                    Text(task.message, "bad"),
                )
    return Group(table, details)


def _bar(progress: ServiceProgress, style: str) -> RenderableType:
    from rich.text import Text

    width = 20
    full = width * progress.ready // max(progress.wanted, 1)
    return Text("━" * full, style) + Text("━" * (width - full), "quiet")


def show_status(console: Console, status: Status, *, everything: bool) -> None:
    """The services and their replicas; dead replicas too where `everything` is asked for."""
    for item in status_parts(status, everything=everything):
        console.print(item)


def status_parts(status: Status, *, everything: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"{status.app} ", "name") + Text(status.release or "not by deploytool", "quiet")
    for service in status.services:
        well = not service.missing and not service.update and not service.is_nowhere
        title = Text(f"\n{service.name}  ", "name")
        title.append(f"{service.running}/{service.replicas} running", "good" if well else "busy")
        if service.mode == "global":
            title.append(", one on each node")
        title.append(f"  {service.release}  {service.image}", "quiet")
        if service.update:
            title.append(f"  {service.update.replace('_', ' ')}", "busy")
        yield title
        for url in service.urls:
            yield Text(f"  {url}")
        for port in service.ports:
            yield Text(f"  port {port}")
        yield _task_table(service.tasks, everything=everything)
    if missing := missing_text(status):
        yield Text("\n✗ ", "bad") + Text(missing)


def missing_text(status: Status) -> str:
    """What should run and does not, in a line; empty where all does."""
    counts = [f"{s.missing} of {s.replicas} of {s.name}" for s in status.services if s.missing]
    nowhere = [f"no node takes {s.name}" for s in status.services if s.is_nowhere]
    missing = [f"replicas are missing: {', '.join(counts)}"] if counts else []
    return "; ".join([*missing, *nowhere])


def _task_table(tasks: Sequence[Task], *, everything: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
    for task in tasks:
        if task.wanted or everything or _is_newest_failure(task, tasks):
            table.add_row(
                Text(task.name),
                Text(task.state, STATE_STYLES.get(task.state, "quiet")),
                Text(task.node),
                Text(task.release, "quiet"),
                Text(age(task.since), "quiet"),
                Text(reason(task), "bad"),
            )
    return table


def _is_newest_failure(task: Task, tasks: Sequence[Task]) -> bool:
    """The last thing that went wrong in a place where nothing runs now."""
    same_place = [other for other in tasks if other.place == task.place]
    failed = [other for other in same_place if other.state in ("failed", "rejected")]
    return bool(failed) and task is failed[0] and not any(other.running for other in same_place)


def reason(task: Task) -> str:
    code = f" (exit code {task.exit_code})" if task.exit_code else ""
    return (
        f"{task.message}{code}"
        if task.message and str(task.exit_code) not in task.message
        else (task.message)
    )


def age(since: datetime | None) -> str:
    """Time since then, in the one unit that matters. Clocks differ: never negative."""
    if since is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def short_commit(commit: str | None) -> str:
    """A commit as a release remembers it, for people: "3f2c81aa90de", "3f2c81aa90de-dirty"."""
    revision, dash, mark = (commit or "").partition("-")
    return f"{revision[:12]}{dash}{mark}"


def show_records(console: Console, records: Sequence[Record]) -> None:
    """The history, newest first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="quiet")
    for title in ("release", "outcome", "when", "took", "by", "commit", "image", "note"):
        table.add_column(title)
    styles = {"done": "good", "started": "busy", "interrupted": "busy"}
    for record in reversed(records):
        release = record.release
        image = next((image.tag for image in release.images.values()), "")
        table.add_row(
            Text(release.id, "name"),
            Text(record.outcome.replace("_", " "), styles.get(record.outcome, "bad")),
            f"{age(release.at)} ago",
            f"{record.seconds:.0f}s" if record.seconds is not None else "",
            one_line(release.by),
            short_commit(release.commit),
            image,
            one_line(release.note),
        )
    console.print(table)
