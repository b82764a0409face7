"""docs/faults.md, of what the tests saw: `python -m tests.live.faults.table` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEEN = ROOT / ".faults"
PAGE = ROOT / "docs" / "faults.md"
MARK = "<!-- written by `make test-faults` -->"


@dataclass(frozen=True)
class Row:
    """What one test saw."""

    title: str
    exit_code: int
    code: str
    message: str
    seconds: float
    sent: int
    failed: int

    @property
    def line(self) -> str:
        code = f"`{self.code}`" if self.code else ""
        message = self.message.replace("|", "\\|")
        return (
            f"| {self.title} | {self.exit_code} | {code} | {message} | {self.seconds:.1f} | "
            f"{self.failed:,} of {self.sent:,} |"
        )


def remember(row: Row, *, app: str, registry: str) -> None:
    """Keep a row, with the names of this run replaced by those that readers know."""
    SEEN.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", row.title.lower()).strip("-")
    text = json.dumps(asdict(row), indent=2)
    for own, known in (
        (rf"{re.escape(app)}\b", "items"),
        (re.escape(registry), "registry.example.com"),
        (r"\blab\d?-?(\d)\b", r"node-\1"),
        (r"@sha256:[0-9a-f]{64}", "@sha256:…"),
        (r":tree-[0-9a-f]+", ":3f2c81aa90de"),
        (r"\bv\d+ of\b", "v2 of"),
        (r"\bof v\d+\b", "of v2"),
        (r"since \d\d:\d\d:\d\d", "since 12:00:00"),
        (r"changed by \S+@\S+", "changed by ann@laptop"),
        (r"/tmp/\S+/overlay2/\w+/diff/", "/var/lib/docker/overlay2/…/"),
        (r"registry.example.com/load", "registry.example.com/items"),
    ):
        text = re.sub(own, known, text)
    (SEEN / f"{name}.json").write_text(text)


def rows() -> list[Row]:
    return [Row(**json.loads(file.read_text())) for file in sorted(SEEN.glob("*.json"))]


def table(found: Iterable[Row]) -> str:
    head = (
        "| what goes wrong | exit | code | what deploytool says | after (s) | failed requests |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
    )
    ordered = sorted(found, key=lambda row: (row.exit_code, row.title))
    return head + "\n".join(row.line for row in ordered) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, mark, _ = text.partition(MARK)
    PAGE.write_text(f"{before}{mark}\n\n{table(rows())}", encoding="utf-8")


if __name__ == "__main__":
    main()
