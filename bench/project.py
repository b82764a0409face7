"""A copy of the example whose image is in the lab's registry."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.measure import Command, clean_environment, say
from tests.lab import Lab

REPOSITORY = Path(__file__).parents[1]


@contextmanager
def lab_and_folder(nodes: int) -> Iterator[tuple[Lab, Path]]:
    """A lab, which is taken down afterwards if it was started here, and a folder to work in."""
    lab = Lab.up(nodes=nodes)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            yield lab, Path(temporary)
    finally:
        if lab.started:
            lab.down()


@dataclass
class Project:
    """The folder, and the cluster that it is deployed to."""

    folder: Path
    lab: Lab
    env: Mapping[str, str]
    image: str = ""
    """The app's own image, by tag."""

    @classmethod
    def make(cls, lab: Lab, folder: Path, app: str, main: Path | None = None) -> Self:
        """Copied, built and pushed; with another module in the place of app/main.py, if given."""
        target = folder / "project"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "app", target / "app", ignore=ignored)
        if main is not None:
            shutil.copy(main, target / "app" / "main.py")
        for name in ("Dockerfile", ".dockerignore", "uv.lock"):
            shutil.copy(REPOSITORY / name, target / name)
        pyproject = (REPOSITORY / "pyproject.toml").read_text().partition("[tool.deploytool]")[0]
        (target / "pyproject.toml").write_text(pyproject)
        project = cls(target, lab, clean_environment(folder / "cache") | lab.env)
        project.write(
            f'app = "{app}"\nregistry = "{lab.registry}"\nentrypoint = "app.main:app"\n'
            "[services.web]\nport = 8000\n"
        )
        say("building the example")
        built = json.loads(project.deploytool("build", "--push", "--json").output())["data"]
        project.image = str(built["reference"]).partition("@")[0]
        return project

    def write(self, configuration: str) -> None:
        (self.folder / "deploytool.toml").write_text(configuration)

    def deploytool(self, *arguments: str) -> Command:
        # The installed script, as a user would start it.
        script = REPOSITORY / ".venv" / "bin" / "deploytool"
        return Command([script, *arguments], self.env, self.folder)

    def docker(self, *arguments: str) -> Command:
        env = dict(self.env) | {"IMAGE": self.image}
        return Command([self.lab.bin / "docker", *arguments], env, self.folder)
