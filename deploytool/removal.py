"""What the removal of an app takes along, what it keeps, and what it does not reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploytool.backends.model import Belonging, not_deployed
from deploytool.backends.protocol import Inspection


@dataclass(frozen=True)
class Removal:
    """A removal of an app, before it is done."""

    app: str
    going: tuple[Belonging, ...]
    kept: tuple[Belonging, ...]
    """What would go too with `--volumes`."""
    elsewhere: tuple[Belonging, ...]
    """Volumes that only other nodes' engines can remove."""

    def warnings(self) -> Iterator[str]:
        """What is left that no command of ours removes."""
        for volume in self.elsewhere:
            yield (
                f"the volume {volume.name} may be on {', '.join(volume.nodes)} too, whose own "
                f"engine alone removes it: docker --host ssh://{volume.nodes[0]} "
                f"volume rm {volume.name}"
            )


def plan_removal(
    backend: Inspection, app: str, *, volumes: bool, secrets: bool = True, command: str
) -> Removal:
    """What `command` would remove, of an app that runs, ran, or never came up.

    Raises UsageError where there is nothing that it would.
    """
    found = backend.belongings(app)
    here = [thing for thing in found if not thing.nodes]
    spared = {kind for kind, goes in (("volume", volumes), ("secret", secrets)) if not goes}
    going = tuple(thing for thing in here if thing.kind not in spared)
    kept = tuple(thing for thing in here if thing.kind in spared)
    if not going:
        still = f"{listed(kept)}: still there; `{command} --volumes` removes it" if kept else ""
        raise not_deployed(app, hint=still)
    return Removal(app, going, kept, tuple(thing for thing in found if thing.nodes))


def listed(things: Iterable[Belonging]) -> str:
    """Things by name. Of the configs, which hold records and files and are many, only how many."""
    found = list(things)
    named = [str(thing) for thing in found if thing.kind != "config"]
    configs = len(found) - len(named)
    counted = [f"{configs} config{'' if configs == 1 else 's'}"] if configs else []
    return ", ".join(named + counted)
