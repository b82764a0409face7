"""How long `deploytool --help` and `--version` take, beside a Typer program of one command.

Both are run as installed scripts by the same interpreter, with their byte code kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.measure import Command, clean_environment, in_turn, is_busy
from bench.report import Report, pair_by_pair

ROUNDS = 15
GOAL = 1.3
PROGRAM = '''\
import typer

app = typer.Typer({settings})


@app.command()
def hello(name: str = "you") -> None:
    """Say hello."""
    print(f"Hello {{name}}")
'''
SCRIPT = """\
import sys
from {module} import app
if __name__ == "__main__":
    sys.exit(app())
"""


def run(rounds: int | None = None) -> Report:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env = clean_environment(folder / "cache")
        script = Path(sys.executable).with_name("deploytool")

        def command(program: Path, *arguments: str) -> Command:
            return Command([sys.executable, program, *arguments], env, folder)

        plain = _program(folder, "plain", "rich_markup_mode=None")
        usual = _program(folder, "usual", "")
        commands = {
            "deploytool --help": command(script, "--help"),
            "deploytool --version": command(script, "--version"),
            "hello --help, without Rich": command(plain, "--help"),
            "hello --help": command(usual, "--help"),
            "hello": command(usual),
        }
        found = in_turn({n: c.run for n, c in commands.items()}, rounds or ROUNDS)
    busy = is_busy([run for runs in found.values() for run in runs])
    pairs = (
        ("deploytool --help", "hello --help, without Rich"),
        ("deploytool --version", "hello --help, without Rich"),
        ("deploytool --help", "hello --help"),
        ("deploytool --version", "hello"),
    )
    return Report(
        name="startup",
        title="Start-up beside a one-command Typer program",
        rows=[
            pair_by_pair(ours, theirs, found[ours], found[theirs], GOAL, cpu=busy)
            for ours, theirs in pairs
        ],
        notes=[
            *(
                ["the machine was busy with others, so CPU time is judged, not wall time"]
                if busy
                else []
            ),
            "bounded by the interpreter and Typer themselves; hello's help without Rich is the "
            "least that any Typer program takes",
        ],
    )


def _program(folder: Path, name: str, settings: str) -> Path:
    (folder / f"{name}.py").write_text(PROGRAM.format(settings=settings))
    script = folder / f"{name}-script"
    script.write_text(SCRIPT.format(module=name))
    return script
