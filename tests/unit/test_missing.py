"""Files that an app does not start without, and that are not there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from deploytool.discover import Project
from deploytool.discover.files.missing import missing_env_files, missing_files


def missing(folder: Path, source: str, *made: str) -> list[str]:
    (folder / "main.py").write_text(source)
    (folder / "there.yml").write_text("")
    files = [PurePosixPath("main.py")]
    found = missing_files(Project(folder), files, PurePosixPath("."), map(PurePosixPath, made))
    return [str(path) for _, path in found]


@pytest.mark.parametrize(
    "source",
    [
        "text = open('gone.yml').read()",
        "with open('gone.yml', 'rb') as file:\n    text = file.read()",
        "import json\nwith open(file='gone.yml') as file:\n    text = json.load(file)",
        "from pathlib import Path\nTEXT: str = Path('gone.yml').read_text()",
        "from pathlib import Path\nTEXT = (Path(__file__).parent / 'gone.yml').read_bytes()",
        "import joblib\nmodel = joblib.load('gone.yml')",
        "print(open('gone.yml').read(), open('gone.yml').read())",
    ],
)
def test_a_file_that_is_read_at_import_is_missing(tmp_path: Path, source: str) -> None:
    assert missing(tmp_path, source) == ["gone.yml"]


@pytest.mark.parametrize(
    "source",
    [
        "text = open('there.yml').read()",
        "file = open('gone.yml', 'w')",
        "try:\n    text = open('gone.yml').read()\nexcept OSError:\n    text = ''",
        "import os\nif os.path.exists('gone.yml'):\n    text = open('gone.yml').read()",
        "text = open('gone.yml').read() if False else ''",
        "def load():\n    return open('gone.yml').read()",
        "text = open('/etc/gone.yml').read()",
        "import os\ntext = open(os.environ['GONE']).read()",
    ],
)
def test_a_file_that_is_there_or_need_not_be(tmp_path: Path, source: str) -> None:
    assert missing(tmp_path, source) == []


def test_a_file_that_the_app_writes_itself(tmp_path: Path) -> None:
    assert missing(tmp_path, "text = open('gone.yml').read()", "gone.yml") == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from starlette.config import Config\ndef read():\n    Config('.env')", [".env"]),
        ("from starlette.config import Config\nConfig(env_file='.env')", [".env"]),
        ("from starlette.config import Config\nConfig('there.yml')", []),
        ("from starlette.config import Config\nConfig()", []),
        ("from alembic.config import Config\nConfig('alembic.ini')", []),
    ],
)
def test_env_file_of_starlette(tmp_path: Path, source: str, found: list[str]) -> None:
    (tmp_path / "main.py").write_text(source)
    (tmp_path / "there.yml").write_text("")
    pairs = missing_env_files(Project(tmp_path), [PurePosixPath("main.py")], PurePosixPath("."))
    assert [str(path) for _, path in pairs] == found
