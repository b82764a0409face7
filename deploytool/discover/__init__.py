"""Finds a project's FastAPI app, packaging and needed files by reading, never by importing."""

from deploytool.discover.app import FoundApp, Source, find_app
from deploytool.discover.packaging import FoundPackaging, Packaging, find_packaging
from deploytool.discover.sources import find_sources, folders_of_tests

__all__ = [
    "FoundApp",
    "FoundPackaging",
    "Packaging",
    "Source",
    "find_app",
    "find_packaging",
    "find_sources",
    "folders_of_tests",
]
