"""The image of an app: its Dockerfile, build and push."""

WRITTEN_BY_INIT = "# Written by `deploytool init`"
"""How a Dockerfile begins that `init` wrote; one without it is its author's."""
