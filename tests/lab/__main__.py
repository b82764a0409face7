"""python -m tests.lab up [N] | down | status | env"""

from __future__ import annotations

import argparse
import sys
import time

from tests.lab.lab import Lab
from tests.lab.shell import LabError, say


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the lab, or what is missing of it")
    up.add_argument("nodes", type=int, nargs="?", default=3)
    up.add_argument("--managers", type=int, default=1)
    up.add_argument("--engine", choices=["current", "trixie", "oldest"])
    commands.add_parser("down", help="stop it and remove all of it")
    commands.add_parser("status", help="its nodes")
    commands.add_parser("env", help='for a shell: eval "$(python -m tests.lab env)"')
    return parser.parse_args()


def up(nodes: int, engine: str | None, managers: int) -> None:
    begin = time.monotonic()
    lab = Lab.up(nodes, engine, managers)
    say(f"{len(lab.nodes)} nodes ready after {time.monotonic() - begin:.1f} s")
    status(lab)


def status(lab: Lab) -> None:
    buildx = "with" if lab.engine.buildx else "without"
    print(f"engine    {lab.engine.version} of Debian {lab.engine.suite}, {buildx} buildx")
    print(f"programs  {lab.bin}\nregistry  {lab.registry}")
    for node in lab.nodes:
        state = "running" if node.running else "stopped"
        network = "" if node.connected else ", cut off"
        print(f"{node.name:<9} {node.address}  {node.docker_host}  {state}{network}")
    if lab.manager.running:
        print(lab.manager.docker("node", "ls"))


def env(lab: Lab) -> None:
    for name, value in lab.env.items():
        print(f'export {name}="{f"{lab.bin}:$PATH" if name == "PATH" else value}"')
    print(f'export LAB_REGISTRY="{lab.registry}"')


def main() -> int:
    given = arguments()
    try:
        match given.command:
            case "up":
                up(given.nodes, given.engine, given.managers)
            case "down":
                Lab.current().down()
            case "status":
                status(Lab.current())
            case "env":
                env(Lab.current())
    except LabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
