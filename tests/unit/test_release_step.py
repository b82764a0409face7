"""A release step is refused everywhere until there is one: never left out silently."""

from pathlib import Path

import pytest

from deploytool.config import load
from deploytool.errors import UsageError

TEXT = """
app = "items"
entrypoint = "app.main:app"
[services.web]
port = 8000
[release]
command = ["alembic", "upgrade", "head"]
"""


def test_a_release_step_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deploytool.toml").write_text(TEXT)
    with pytest.raises(UsageError) as caught:
        load(tmp_path, environ={}).app_spec()
    assert caught.value.code == "release_step_unavailable"
