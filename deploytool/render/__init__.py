"""AppSpec → text, to be committed, reviewed, and deployed by other tools as well."""

RENDERED = b"rendered by deploytool from the project's configuration"
"""In the first line of every rendered file."""
