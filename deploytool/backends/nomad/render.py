"""The job of an app as files: HCL for people and reviews, JSON as it is submitted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploytool.backends.nomad.specification import hcl
from deploytool.backends.nomad.specification.compile import APP, compile_app
from deploytool.backends.nomad.specification.task import Source
from deploytool.config.nomad import NomadSettings
from deploytool.render import RENDERED
from deploytool.render.files import RenderedFile
from deploytool.spec import AppSpec

HEADER = """\
# {app}: {rendered}{env}; change that instead.
# `nomad job run {path}` runs it, with images by their tags. Written for Nomad {version}: a deploy
# leaves out what an older server does not know.
"""


def path(app: AppSpec, suffix: str = "hcl") -> str:
    """Where the file belongs, relative to the project: nomad/APP.nomad.hcl."""
    environment = f".{app.environment}" if app.environment else ""
    return f"nomad/{app.name}{environment}.nomad.{suffix}"


def render_files(
    app: AppSpec, settings: NomadSettings, contents: Mapping[str, bytes], *, as_json: bool = False
) -> list[RenderedFile]:
    """The job of an app. Raises ConfigError for what Nomad cannot do."""
    source = Source(app, settings, files=contents)
    compiled = compile_app(source)
    if as_json:
        return [RenderedFile(Path(path(app, "json")), compiled.text, mark=f'"{APP}": '.encode())]
    header = HEADER.format(
        app=app.name,
        rendered=RENDERED.decode(),
        env=f" for {app.environment}" if app.environment else "",
        path=path(app),
        version=source.version,
    )
    return [RenderedFile(Path(path(app)), header + hcl.render(compiled.job))]


def warnings(app: AppSpec) -> list[str]:
    """What of the configuration has no effect on Nomad."""
    return list(compile_app(Source(app, files=dict.fromkeys(app.files, b"-"))).notes)
