"""Configuration files, and the scripts that replicas run, as Swarm configs.

Their names carry the content's hash: another content is another config, so that a change of it is a
change of the services that use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deploytool.backends.swarm.api.client import Client, is_taken
from deploytool.backends.swarm.specification import compile as swarm
from deploytool.errors import EngineError, PlanError
from deploytool.json_types import Json
from deploytool.spec import AppSpec


def missing(app: AppSpec, files: Mapping[str, bytes], configs: Iterable[Json]) -> list[Json]:
    """The configs to create. Raises PlanError for a file that the cluster does not have and whose
    content is not known here: it belongs to a release that is gone."""
    known = {config["Spec"]["Name"] for config in configs}
    used = {path for service in app.services for path in service.files.values()}
    wanted = {swarm.file_name(app, path): path for path in sorted(used)}
    lost = [p for name, p in wanted.items() if name not in known and p not in files]
    if lost:
        raise PlanError(
            f"The cluster no longer has the file {lost[0]} of that release",
            code="file_gone",
            hint="deploy that commit again instead: deploytool deploy",
        )
    found = [
        {"name": name, "data": files[path], "labels": swarm.file_labels(app, path)}
        for name, path in wanted.items()
        if name not in known
    ]
    scripts = {script.config_name(app.name): script for script in swarm.all_scripts(app)}
    return found + [
        {"name": name, "data": script.content, "labels": script.config_labels(app.name)}
        for name, script in scripts.items()
        if name not in known
    ]


def create(client: Client, configs: Sequence[Json], specs: Iterable[Json]) -> None:
    """Create the configs, unless somebody else has meanwhile, and set their ids in the
    specifications that use them."""
    ids = {config["name"]: _create(client, config) for config in configs}
    for spec in specs:
        for reference in spec["TaskTemplate"]["ContainerSpec"].get("Configs") or ():
            if reference["ConfigName"] in ids:
                reference["ConfigID"] = ids[reference["ConfigName"]]


def _create(client: Client, config: Json) -> str:
    try:
        return client.create_config(config["name"], config["data"], config["labels"])
    except EngineError as error:
        found = client.configs(name=config["name"]) if is_taken(error) else []
        for other in found:
            if other["Spec"]["Name"] == config["name"]:
                return str(other["ID"])
        raise
