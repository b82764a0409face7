"""What can be known before an image is built: whether the registry has one of the same content,
and what keeps the release from the cluster whatever is in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deploytool.backends.model import Plan
from deploytool.backends.protocol import Backend, Images
from deploytool.errors import DeploytoolError, PlanError
from deploytool.records import history
from deploytool.spec import UNBUILT, AppSpec, Image

MakePlan = Callable[[Mapping[str, Image]], Plan]

NOT_THERE = {"image_missing", "registry_denied"}
"""Codes by which registries say that they have no such image: some let nobody ask for what is not
there."""
ROOM = {"does_not_fit", "no_suitable_node"}
"""Codes of refusals that depend on the image: where it is the one that runs, nothing moves."""


def find_image(backend: Images, tag: str) -> Image | None:
    """The image that a registry has under a tag. Raises RegistryError where none answers."""
    try:
        found = backend.resolve(tag)
    except DeploytoolError as error:
        if error.code in NOT_THERE:
            return None
        raise
    return found if "@" in found.reference else None


def unbuilt(backend: Images, spec: AppSpec, tag: str) -> dict[str, Image]:
    """What a plan says of the app's own image while there is none: it will be for the platforms of
    the one that runs, as far as anybody knows."""
    running = backend.running_images(spec.name)
    return {
        service.name: Image(
            reference=f"{tag}{UNBUILT}",
            tag=tag,
            platforms=running[service.name].platforms if service.name in running else (),
        )
        for service in spec.services
        if service.image is None
    }


def check(
    backend: Backend, make_plan: MakePlan, spec: AppSpec, images: Mapping[str, Image], *, busy: bool
) -> None:
    """Refuse what the cluster will not take, whatever the image is. Raises PlanError.

    `busy` is whether somebody is changing the app: how much room there is will be known then.
    """
    try:
        make_plan(images)
    except PlanError as error:
        if error.code not in ROOM:
            raise
        if not busy and not _fits(make_plan, {**images, **_running(backend, spec)}):
            raise


def _fits(make_plan: MakePlan, images: Mapping[str, Image]) -> bool:
    try:
        make_plan(images)
    except PlanError:
        return False
    return True


def _running(backend: Backend, spec: AppSpec) -> dict[str, Image]:
    """The app's own images that run now, as far as releases say."""
    good = history.good(history.records(backend.store, spec.name))
    images = good[-1].images if good else {}
    return {s.name: images[s.name] for s in spec.services if s.image is None and s.name in images}
