"""Finds the release step and the workers of a project."""
