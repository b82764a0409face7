"""Which images a release runs."""

from __future__ import annotations

from collections.abc import Callable

from deploytool.backends.protocol import Images
from deploytool.errors import DeploytoolError, ImageError, RegistryError
from deploytool.image.reference import Reference
from deploytool.spec import AppSpec, Image


def resolve_images(
    backend: Images,
    spec: AppSpec,
    own: str | None,
    warn: Callable[[str], None] = lambda _: None,
) -> dict[str, Image]:
    """The image of every service by digest, each reference resolved once.

    `own` is the reference of the app's own image. `warn` is called for each service that
    keeps the image that it runs, as its registry does not resolve the unchanged reference. Raises
    ImageError, RegistryError, and UsageError for what cannot be the name of an image.
    """
    from concurrent.futures import ThreadPoolExecutor

    references = {s.name: s.image or own or f"{spec.image}:latest" for s in spec.services}
    for reference in references.values():
        Reference.parse(reference)
    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = {ref: pool.submit(backend.resolve, ref) for ref in set(references.values())}
    failed = {
        ref: error
        for ref, future in asked.items()
        if isinstance(error := future.exception(), ImageError | RegistryError)
    }
    running = backend.running_images(spec.name) if failed else {}
    found: dict[str, Image] = {}
    for name, ref in references.items():
        if ref not in failed:
            found[name] = asked[ref].result()
            continue
        error = failed[ref]
        found[name] = _without_registry(backend, ref, running.get(name), error)
        if found[name].digest:
            warn(
                f"{name} keeps the image that it runs, {found[name].reference}: the registry "
                f"{Reference(ref).host} did not resolve {ref}. {error.message}"
            )
    return found


def _without_registry(
    backend: Images, reference: str, running: Image | None, error: DeploytoolError
) -> Image:
    """The image that a service runs, while the configuration still names it so: no outage of a
    registry is a reason to touch it. Else one that no registry needs to know."""
    if running is not None and running.is_known_as(reference):
        return running
    local = backend.local_image(reference)
    if local is None:
        raise error
    return local
