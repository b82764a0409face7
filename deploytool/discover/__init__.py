"""Finds a project's FastAPI app, packaging and needed files by reading, never by importing."""

from deploytool.discover.apps.app import FoundApp, OtherApp, Source, find_app
from deploytool.discover.apps.own_metadata import reads_own_metadata
from deploytool.discover.dependencies.packaging import FoundPackaging, Packaging, find_packaging
from deploytool.discover.files.sources import (
    copied_files,
    find_sources,
    folders_of_tests,
    reached_by_modules,
    reached_files,
)
from deploytool.discover.source import Project

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
    "reached_by_modules",
    "reached_files",
    "reads_own_metadata",
]
