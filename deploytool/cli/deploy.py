"""`plan` and `deploy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploytool.cli.common import Session, command, duration
from deploytool.cli.image import build_project, project_source
from deploytool.cli.lock import LOCK_TIMEOUT, LockTimeout, holding
from deploytool.errors import DeploytoolError, ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.base import Backend, Plan
    from deploytool.image.build import Source
    from deploytool.rollout import Result, Step
    from deploytool.spec import Image, Release

ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="REF", help="Take this image, do not build one."),
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Take domains over from the apps that serve them now."),
]


def register(app: typer.Typer) -> None:
    @command(app, "plan")
    def plan(
        session: Session,
        image: ImageOption = None,
        exit_code: Annotated[
            bool, typer.Option("--exit-code", help="Exit with 5 when there are changes.")
        ] = False,
        take_over: TakeOver = False,
    ) -> None:
        """Show what a deploy would change, field by field. Changes nothing."""
        from deploytool.backends import open_backend
        from deploytool.cli.views import show_plan

        backend = open_backend(session.config.config)
        images = _known_images(session, backend, image)
        found = backend.plan(session.spec, images, files=session.config.files, take_over=take_over)
        warn(session, found)
        data = found.model_dump(mode="json") | {"changed": not found.is_empty}
        session.output.result(
            data, lambda console: show_plan(console, found, verbose=session.output.verbose)
        )
        if exit_code and not found.is_empty:
            raise typer.Exit(ExitCode.CHANGES)

    @command(app, "deploy")
    def deploy(
        session: Session,
        image: ImageOption = None,
        no_wait: Annotated[
            bool, typer.Option("--no-wait", help="Do not wait until the replicas run.")
        ] = False,
        timeout: Annotated[
            str, typer.Option(help="Give up, and go back, after this long.")
        ] = "10m",
        rerun: Annotated[
            bool,
            typer.Option("--rerun-release-step", help="Run the release step although it has run."),
        ] = False,
        take_over: TakeOver = False,
        lock_timeout: LockTimeout = LOCK_TIMEOUT,
    ) -> None:
        """Build, push, plan, confirm, roll out, and stay until every replica runs."""
        from deploytool.rollout import new_release

        limit = duration("--timeout", timeout)
        lock_limit = duration("--lock-timeout", lock_timeout)
        backend, images, source = _with_images(session, image)
        with holding(session, backend, "deploy", lock_limit) as guard:
            plan = backend.plan(
                session.spec, images, files=session.config.files, take_over=take_over
            )
            confirm_plan(session, plan, "Deploy this?")
            release = new_release(session.spec, images, commit=source.revision if source else None)
            result = roll_out_shown(
                session,
                backend,
                plan,
                release,
                timeout=limit,
                wait=not no_wait,
                step=_step(session, rerun=rerun),
                guard=guard,
            )
        tell(session, backend, images, result)


def _with_images(
    session: Session, image: str | None
) -> tuple[Backend, dict[str, Image], Source | None]:
    """The cluster, and the images that it is to run: built and pushed where none is given."""
    from deploytool.backends import open_backend
    from deploytool.rollout import resolve_images

    spec = session.spec
    backend = open_backend(session.config.config)
    source: Source | None = None
    if image is None and any(service.image is None for service in spec.services):
        built, source = build_project(session, push=True)
        image = built.reference
    return backend, resolve_images(backend, spec, image), source


def _step(session: Session, *, rerun: bool) -> Step:
    from deploytool.rollout import Step

    output = session.output
    return Step(emit=output.line, say=output.step, rerun=rerun)


def roll_out_shown(
    session: Session, backend: Backend, plan: Plan, release: Release, **settings: Any
) -> Result:
    """Roll out, and show how it goes."""
    from deploytool.cli.views import rollout_view
    from deploytool.rollout import roll_out

    with rollout_view(session.output) as report:
        result = roll_out(backend, plan, release, report=report, **settings)
    for warning in result.warnings:
        session.output.warn(warning)
    return result


def confirm_plan(session: Session, plan: Plan, question: str) -> None:
    """Show what will be done and let somebody say no. Raises DeploytoolError when they do."""
    from deploytool.cli.views import show_plan

    output = session.output
    warn(session, plan)
    if plan.is_empty:
        return
    output.step(f"Plan for {plan.app}")
    show_plan(output.progress, plan, verbose=output.verbose)
    if not session.yes and not output.confirm(question):
        raise DeploytoolError("Nothing was changed", code="declined", hint="answer y, or add --yes")


def _known_images(session: Session, backend: Backend, image: str | None) -> Mapping[str, Image]:
    """The images that a plan speaks of when nothing is built: what would be deployed is the
    image of this commit if the registry has it, else what runs now."""
    from deploytool.rollout import resolve_images
    from deploytool.spec import Image

    spec = session.spec
    if image is not None or all(service.image for service in spec.services):
        return resolve_images(backend, spec, image)
    source = project_source(session)
    tag = f"{spec.image}:{source.tag}"
    try:
        return resolve_images(backend, spec, tag)
    except DeploytoolError as error:
        if error.code != "image_missing":
            raise
    session.output.warn(f"{tag} is not built yet: the plan speaks of it without a digest")
    unbuilt = Image(reference=f"{tag} (not built yet)", tag=tag)
    pinned = {service.name: unbuilt for service in spec.services if service.image is None}
    ready = spec.model_copy(update={"services": tuple(s for s in spec.services if s.image)})
    return resolve_images(backend, ready, None) | pinned


def warn(session: Session, plan: Plan) -> None:
    for warning in plan.warnings:
        session.output.warn(warning)


def tell(session: Session, backend: Backend, images: Mapping[str, Image], result: Result) -> None:
    """What was done, and where to look at it."""
    app = session.spec.name
    status = backend.status(app)
    urls = [url for service in status.services for url in service.urls]
    release = result.release.id if result.release else status.release
    data = {
        "app": app,
        "release": release,
        "changed": result.release is not None,
        "waited": result.waited,
        "seconds": round(result.seconds, 1),
        "urls": urls,
        "images": {name: image.reference for name, image in images.items()},
        "plan": result.plan.model_dump(mode="json"),
    }

    def human(console: Console) -> None:
        if result.release is None:
            console.print(f"[good]✓[/] Nothing to change: {app} runs {release}")
        elif not result.waited:
            console.print(f"[good]✓[/] {release} of {app} is on its way: deploytool status --watch")
        else:
            console.print(f"[good]✓[/] {release} of {app} runs, after {result.seconds:.1f} s")
        for url in urls:
            console.print(f"  {url}", markup=False)

    session.output.result(data, human)
