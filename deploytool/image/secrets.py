"""The secrets of a build: what a RUN reads and the image does not keep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deploytool.errors import ImageError
from deploytool.reading import read_file

if TYPE_CHECKING:
    from deploytool.config.model import BuildSecret

LARGEST = 500 * 1024
"""bytes that BuildKit takes"""


def read_secret(project: Path, name: str, secret: BuildSecret) -> str:
    """The value of a secret as text. Raises ImageError where there is none."""
    if secret.env is not None:
        if value := os.environ.get(secret.env):
            return value
        problem = f"the variable {secret.env} is not set"
        hint = f"set {secret.env} where deploytool runs; in CI as a protected variable of the job"
    else:
        try:
            data = read_file(project / str(secret.file), limit=LARGEST, within=project)
            return data.decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            problem = f"{secret.file} cannot be read: {getattr(error, 'strerror', None) or error}"
            hint = "put it there, in a file that git and .dockerignore ignore; or name a variable"
    raise ImageError(
        f"There is no build.secrets.{name}: {problem}", code="build_secret_missing", hint=hint
    )
