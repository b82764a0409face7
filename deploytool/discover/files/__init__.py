"""Finds which files an app reads and writes, and decides how they are kept."""
