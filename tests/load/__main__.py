"""Send requests at a fixed rate to a service of this machine or of its networks; print what came
of it as JSON. Ctrl-C ends it early."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.load.generator import Generator
from tests.load.result import Result
from tests.load.settings import Settings

DEFAULTS = Settings("127.0.0.1")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=DEFAULTS.port)
    parser.add_argument("--host", default=DEFAULTS.host, help="name that is asked for")
    parser.add_argument("--rate", type=float, default=DEFAULTS.rate, help="requests per second")
    parser.add_argument("--seconds", type=float, default=DEFAULTS.seconds)
    parser.add_argument("--websockets", type=int, default=DEFAULTS.websockets)
    parser.add_argument("--slow-seconds", type=float, default=DEFAULTS.slow_seconds)
    parser.add_argument("--stream-seconds", type=float, default=DEFAULTS.stream_seconds)
    parser.add_argument("--timeout", type=float, default=DEFAULTS.timeout)
    parser.add_argument(
        "--mix", help='shares of the kinds, for example "get=2,post=1"; default: all kinds'
    )
    parser.add_argument("--samples", type=Path, help="file for every single request, as JSON")
    return parser.parse_args()


def mix(text: str) -> dict[str, float]:
    return {kind: float(share) for kind, _, share in (p.partition("=") for p in text.split(","))}


async def from_shell(given: argparse.Namespace) -> Result:
    chosen: dict[str, Any] = {k: v for k, v in vars(given).items() if k not in ("mix", "samples")}
    if given.mix:
        chosen["mix"] = mix(given.mix)
    generator = Generator(Settings(**chosen))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, generator.stop)
    return await generator.run()


async def for_parent() -> Result:
    """Settings as a line of standard input, whose end is the sign to stop: it comes when the
    parent says so, and when it dies."""
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    generator = Generator(Settings(**json.loads(line)))

    def stop() -> None:
        loop.remove_reader(sys.stdin)
        generator.stop()

    loop.add_reader(sys.stdin, stop)
    # Ctrl-C in a terminal reaches both; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(loop.time(), flush=True)
    return await generator.run()


def main() -> int:
    if sys.argv[1:] == ["--for-parent"]:
        found = asyncio.run(for_parent())
        print(json.dumps(found.data()))
        return 0
    given = arguments()
    found = asyncio.run(from_shell(given))
    if given.samples:
        given.samples.write_text(json.dumps(found.data()))
    print(json.dumps(found.summary(), indent=2))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
