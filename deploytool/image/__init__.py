"""The image of an app: its Dockerfile, build and push."""

import re

WRITTEN_BY_INIT = "# Written by `deploytool init`"
"""How a Dockerfile begins that `init` wrote; one without it is its author's."""

_DIRECTIVES = re.compile(r"(?:\ufeff?#[ \t]*[A-Za-z]+[ \t]*=[^\n]*\n)+")


def without_directives(text: str) -> str:
    """A Dockerfile without the directives for its parser, such as `# syntax=`, which have to come
    first (docs.docker.com/reference/dockerfile/#parser-directives)."""
    found = _DIRECTIVES.match(text)
    return text[found.end() :] if found else text


def is_written_by_init(dockerfile: str) -> bool:
    """Whether `init` wrote it, as its first line says; it may have been edited since."""
    return without_directives(dockerfile).startswith(WRITTEN_BY_INIT)
