"""A real Docker Swarm of several nodes on one machine, to test against.

Every node is a Docker engine in a network namespace of its own; all pull from one registry.
Engines are unpacked beside the system, never installed over it: DEPLOYTOOL_LAB_ENGINE is
`current` (the newest that runs here, the default), `trixie` or `oldest`.

    python -m tests.lab up 3        on the command line
    lab = Lab.up(nodes=3)           in tests
"""

from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.shell import LabError

__all__ = ["Lab", "LabError", "Node"]
