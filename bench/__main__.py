"""python -m bench startup | plan | rollout | rollout-nomad | load | idle [--json] [--rounds N]"""

from __future__ import annotations

import argparse
import json
import sys

from bench import idle, load, plan, rollout, rollout_nomad, startup
from bench.report import Report

BENCHMARKS = {
    "startup": startup.run,
    "plan": plan.run,
    "rollout": rollout.run,
    "rollout-nomad": rollout_nomad.run,
    "load": load.run,
    "idle": idle.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = "|".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar=names, help="default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, help="pairs of runs, instead of the usual number")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}")
    reports: list[Report] = []
    for name in given.names or BENCHMARKS:
        report = BENCHMARKS[name](given.rounds)
        reports.append(report)
        if not given.json:
            print(report.text(), flush=True)
    if given.json:
        print(json.dumps([report.data() for report in reports], indent=2))
    return 0 if all(report.met for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
