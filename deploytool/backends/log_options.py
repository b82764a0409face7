"""What no engine takes of the options of its log drivers, and would say only when a replica starts.
Pure.

`ValidateLogOpts` in moby's daemon/logger, and those of the drivers there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploytool.backends import go_templates
from deploytool.errors import Problem
from deploytool.spec import ROTATED, Logging

COMMON = frozenset({"env", "env-regex", "labels", "labels-regex", "mode", "max-buffer-size", "tag"})
KNOWN = {
    "json-file": COMMON | {"compress"},
    "local": COMMON | {"compress"},
    "journald": COMMON,
}
"""Driver → its options, but for those that have keys of their own. Those of others depend on the
engine."""
WITH_TAG = frozenset({*KNOWN, "syslog", "gelf", "fluentd"})
MODES = ("blocking", "non-blocking")
TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
"""What Go's `strconv.ParseBool` takes."""
SIZE = re.compile(r"[0-9]+(\.[0-9]+)? ?[kmgtp]?i?b?", re.IGNORECASE)


def problems(logging: Logging) -> Iterator[Problem]:
    options, driver = logging.options, logging.driver
    if driver in ROTATED and not logging.max_size:
        yield Problem("logging.max_size", "has to be 1B at least")
    known = KNOWN.get(driver, frozenset(options))
    for name in sorted(options.keys() - known):
        yield _wrong(name, f"{driver} has no such option", f"it has {', '.join(sorted(known))}")
    if driver == "none":
        return
    mode = options.get("mode", "")
    if mode and mode not in MODES:
        yield _wrong("mode", f"has to be {' or '.join(MODES)}")
    if (size := options.get("max-buffer-size")) is not None:
        if mode != "non-blocking":
            yield _wrong("max-buffer-size", 'means nothing without mode = "non-blocking"')
        if not SIZE.fullmatch(size):
            yield _wrong("max-buffer-size", 'has to be a size, for example "4m"')
    if driver in ROTATED and options.get("compress", "true") not in TRUE | FALSE:
        yield _wrong("compress", "has to be true or false")
    if driver in WITH_TAG and (found := go_templates.problem(options.get("tag", ""))):
        yield _wrong("tag", f"is no template: {found}")


def compressed(logging: Logging) -> bool:
    """Whether rotated files are compressed: "local" does, unless it is told not to."""
    default = "true" if logging.driver == "local" else "false"
    return logging.driver in ROTATED and logging.options.get("compress", default) in TRUE


def _wrong(option: str, message: str, hint: str = "") -> Problem:
    return Problem(f"logging.options.{option}", message, hint)
