"""Finds the FastAPI app of a project, how it is imported and which routes it has."""
