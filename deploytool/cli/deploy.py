"""`plan` and `deploy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploytool.cli.common import Session, ShowValues, command, duration
from deploytool.cli.image import build_project, project_source
from deploytool.cli.lock import LOCK_TIMEOUT, LockTimeout, holding, note
from deploytool.errors import DeploytoolError, ExitCode
from deploytool.output import ticked

if TYPE_CHECKING:
    from rich.console import Console

    from deploytool.backends.model import Plan
    from deploytool.backends.protocol import Backend
    from deploytool.image.build import Source
    from deploytool.precheck import MakePlan
    from deploytool.rollout.release_step import Step
    from deploytool.rollout.roll_out import Result
    from deploytool.spec import AppSpec, Image, Release

ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="REF", help="Take this image, do not build one."),
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Take domains over from the apps that serve them now."),
]


@command("plan", "deploytool plan", "deploytool plan --env production --exit-code")
def plan(
    session: Session,
    image: ImageOption = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 5 when there are changes.")
    ] = False,
    take_over: TakeOver = False,
    show_values: ShowValues = False,
) -> None:
    """Show what a deploy would change, and change nothing."""
    from deploytool.backends import open_backend
    from deploytool.cli.views import show_plan
    from deploytool.diff import hidden

    backend = open_backend(session.config.config)
    images = _known_images(session, backend, image)
    found = backend.plan(session.spec, images, files=session.config.files, take_over=take_over)
    warn(session, found)
    found = found if show_values else hidden(found)
    data = found.model_dump(mode="json") | {"changed": not found.is_empty}
    session.output.result(
        data, lambda console: show_plan(console, found, verbose=session.output.verbose)
    )
    if exit_code and not found.is_empty:
        raise typer.Exit(ExitCode.CHANGES)


@command(
    "deploy",
    "deploytool deploy",
    "deploytool deploy --env production --yes",
    "deploytool deploy --image registry.example.com/team/items:1.4 --timeout 20m",
)
def deploy(
    session: Session,
    image: ImageOption = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until the replicas run.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="Roll back after this long.")] = "10m",
    rerun: Annotated[
        bool,
        typer.Option("--rerun-release-step", help="Run the release step although it has run."),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build although the registry has an image of this content."),
    ] = False,
    take_over: TakeOver = False,
    show_values: ShowValues = False,
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
) -> None:
    """Build, push, and roll out until every replica runs."""
    from deploytool.backends import open_backend
    from deploytool.rollout.release import new_release

    limit = duration("--timeout", timeout)
    lock_limit = duration("--lock-timeout", lock_timeout)
    backend = open_backend(session.config.config)

    def make_plan(images: Mapping[str, Image]) -> Plan:
        return backend.plan(session.spec, images, files=session.config.files, take_over=take_over)

    images, source = _with_images(session, backend, make_plan, image, rebuild=rebuild)
    with holding(session, backend, "deploy", lock_limit) as guard:
        plan = make_plan(images)
        confirm_plan(session, plan, "Deploy this?", show_values=show_values)
        release = new_release(session.spec, images, commit=source.commit if source else None)
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
        if result.waited:
            move_latest(session, backend, session.spec, images)
    show(session, backend, images, result)


def _with_images(
    session: Session, backend: Backend, make_plan: MakePlan, image: str | None, *, rebuild: bool
) -> tuple[dict[str, Image], Source | None]:
    """The images that the cluster is to run, and what the app's own is made from where none is
    given: it is built and pushed unless the registry has one of the same content."""
    from deploytool import precheck
    from deploytool.image import users
    from deploytool.image.build import warn_of_changes
    from deploytool.rollout.images import resolve_images

    spec = session.spec
    if image is not None or all(service.image for service in spec.services):
        return resolve_images(backend, spec, image, session.output.warn), None
    source = project_source(session)
    tag = f"{spec.image}:{source.tag}"
    ready = resolve_images(backend, _ready(spec), None, session.output.warn)
    own = None if rebuild else precheck.find_image(backend, tag)
    if own is None:
        images = precheck.unbuilt(backend, spec, tag) | ready
        precheck.check(backend, make_plan, spec, images, busy=_is_busy(session, backend))
        built, _ = build_project(session, push=True, source=source)
        users.check(tag, spec.services)
        own = backend.resolve(built.reference)
    else:
        session.output.step(f"Taking {tag}, which the registry has: the same content")
        warn_of_changes(source, session.output.warn)
        users.check(tag, [service for service in spec.services if service.user])
    return {service.name: ready.get(service.name, own) for service in spec.services}, source


def _ready(spec: AppSpec) -> AppSpec:
    """The app's services whose image is not its own."""
    return spec.model_copy(update={"services": tuple(s for s in spec.services if s.image)})


def _is_busy(session: Session, backend: Backend) -> bool:
    """Whether somebody is changing the app, and say so: the build can go on meanwhile."""
    from deploytool.records.lease import holder

    lease = holder(backend.store, session.spec.name)
    if lease is None or not lease.left:
        return False
    session.output.step(f"{lease.by} is changing {lease.app} ({lease.purpose}): building meanwhile")
    return True


def move_latest(
    session: Session, backend: Backend, spec: AppSpec, images: Mapping[str, Image]
) -> None:
    """Make the tag `latest` the app's image of a release that is done. That it cannot be is no
    failure of the release."""
    from deploytool.image import build

    own = {images[service.name] for service in spec.services if service.image is None}
    for image in own:
        repository, _, digest = image.reference.partition("@")
        if not digest or repository != spec.image or _is_latest(backend, image, repository):
            continue
        try:
            build.move_latest(
                image.reference,
                several_platforms=len(image.platforms) > 1,
                progress=session.output.line if session.output.verbose else lambda _: None,
            )
        except DeploytoolError as error:
            session.output.warn(f"{repository}:latest was not moved: {error.message}")


def _is_latest(backend: Backend, image: Image, repository: str) -> bool:
    try:
        return backend.resolve(f"{repository}:latest").reference == image.reference
    except DeploytoolError:
        return False


def _step(session: Session, *, rerun: bool) -> Step:
    from deploytool.rollout.release_step import Step

    output = session.output
    return Step(emit=output.line, say=output.step, rerun=rerun)


def roll_out_shown(
    session: Session, backend: Backend, plan: Plan, release: Release, **settings: Any
) -> Result:
    """Roll out, and show how it goes."""
    from deploytool.cli.views import rollout_view
    from deploytool.rollout.roll_out import roll_out

    with rollout_view(session.output) as report:
        result = roll_out(backend, plan, release, report=report, **settings)
    if result.release is None and result.renewed:
        note(session, backend, f"registry login of {result.renewed}", result.seconds, app=plan.app)
    for warning in result.warnings:
        session.output.warn(warning)
    return result


def confirm_plan(session: Session, plan: Plan, question: str, *, show_values: bool = False) -> None:
    """Show what will be done and let somebody say no. Raises DeploytoolError when they do."""
    from deploytool.cli.views import show_plan
    from deploytool.diff import hidden

    output = session.output
    warn(session, plan)
    if plan.is_empty:
        return
    output.step(f"Plan for {plan.app}")
    shown = plan if show_values else hidden(plan)
    show_plan(output.progress, shown, verbose=output.verbose)
    if not session.yes and not output.confirm(question):
        raise DeploytoolError("Nothing was changed", code="declined", hint="answer y, or add --yes")


def _known_images(session: Session, backend: Backend, image: str | None) -> Mapping[str, Image]:
    """The images that a plan speaks of when nothing is built: what would be deployed is the
    image of this content if the registry has it, else one that is still to be built."""
    from deploytool import precheck
    from deploytool.rollout.images import resolve_images

    spec = session.spec
    if image is not None or all(service.image for service in spec.services):
        return resolve_images(backend, spec, image, session.output.warn)
    tag = f"{spec.image}:{project_source(session).tag}"
    ready = resolve_images(backend, _ready(spec), None, session.output.warn)
    images = precheck.unbuilt(backend, spec, tag)
    if own := precheck.find_image(backend, tag):
        images = dict.fromkeys(images, own)
    else:
        session.output.warn(f"{tag} is not built yet: the plan speaks of it without a digest")
    return images | ready


def warn(session: Session, plan: Plan) -> None:
    for warning in plan.warnings:
        session.output.warn(warning)


def show(session: Session, backend: Backend, images: Mapping[str, Image], result: Result) -> None:
    """Show what was done, and the URLs."""
    from deploytool.diff import hidden

    app = session.spec.name
    status = backend.status(app)
    urls = [url for service in status.services for url in service.urls]
    addresses = [address for service in status.services for address in service.addresses]
    release = result.release.id if result.release else status.release
    data = {
        "app": app,
        "release": release,
        "changed": result.release is not None,
        "waited": result.waited,
        "seconds": round(result.seconds, 1),
        "urls": urls,
        "addresses": addresses,
        "images": {name: image.reference for name, image in images.items()},
        "plan": hidden(result.plan).model_dump(mode="json"),
    }

    def human(console: Console) -> None:
        if result.release is None:
            console.print(ticked(f"Nothing to change: {app} runs {release}"))
            if result.renewed:
                console.print(f"  registry login renewed: {result.renewed}")
        elif not result.waited:
            console.print(ticked(f"{release} of {app} is on its way: deploytool status --watch"))
        else:
            console.print(ticked(f"{release} of {app} runs, after {result.seconds:.1f} s"))
        for address in (*urls, *addresses):
            console.print(f"  {address}")

    session.output.result(data, human)
