"""Finds a project's FastAPI app, packaging and needed files by reading, never by importing."""

from deploytool.discover.app import FoundApp, OtherApp, Source, find_app
from deploytool.discover.own_metadata import reads_own_metadata
from deploytool.discover.packaging import FoundPackaging, Packaging, find_packaging
from deploytool.discover.source import Project
from deploytool.discover.sources import (
    copied_files,
    find_sources,
    folders_of_tests,
    reached_files,
)

__all__ = [
    "FoundApp",
    "FoundPackaging",
    "OtherApp",
    "Packaging",
    "Project",
    "Source",
    "copied_files",
    "find_app",
    "find_packaging",
    "find_sources",
    "folders_of_tests",
    "reached_files",
    "reads_own_metadata",
]
