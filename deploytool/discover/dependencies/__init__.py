"""Finds what a project depends on, which Python fits, and what nothing lists."""
