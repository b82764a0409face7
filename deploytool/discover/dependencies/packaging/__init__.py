"""How the dependencies of a project are written down."""

from deploytool.discover.dependencies.packaging.finder import find_packaging, with_metadata
from deploytool.discover.dependencies.packaging.found import (
    PLAIN_FASTAPI,
    SCRIPT_BLOCK,
    FoundPackaging,
    Packaging,
)

__all__ = [
    "PLAIN_FASTAPI",
    "SCRIPT_BLOCK",
    "FoundPackaging",
    "Packaging",
    "find_packaging",
    "with_metadata",
]
