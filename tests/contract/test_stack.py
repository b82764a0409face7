"""The rendered stack through the real docker command line, which needs no engine for it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given

from deploytool.backends.swarm.specification import compile as swarm
from deploytool.backends.swarm.specification.stack import render
from deploytool.config import load
from deploytool.spec import AppSpec, ProxySettings
from tests import parity
from tests.builders import app, images, maximal_app, proxy, service
from tests.lab.engines import command_line
from tests.strategies import apps, quick

pytestmark = pytest.mark.contract
OLDEST = 25
"""The first docker command line that reads version 3.13 of the format."""
PROJECT = Path(__file__).parents[2]


@cache
def docker() -> Path:
    """The docker command line. Not finding it is a failure: what is untested is not promised."""
    return command_line(OLDEST)


def parsed(text: str, folder: Path, **environ: str) -> parity.Json:
    """What the command line reads in a stack file."""
    file = folder / "stack.yml"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [docker(), "stack", "config", "--compose-file", str(file)],
        capture_output=True,
        check=False,
        env={**os.environ, "HOME": "/nowhere", **environ},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = yaml.load(done.stdout.decode(), parity.GoLoader)
    assert isinstance(found, dict)
    return found


def agrees(spec: AppSpec, folder: Path) -> None:
    """The command line and the compiler make the same of an app."""
    document = parsed(render(spec), folder, HOME="/root", x="wrong", PRICE="wrong")
    assert document["services"].keys() == {each.name for each in spec.services}
    chosen = images(spec)
    for each in spec.services:
        own = swarm.service_spec(spec, each, chosen[each.name], None)
        assert parity.of_stack(document, each.name, spec.name) == parity.of_engine(own, spec.name)
        expected = each.image or f"{spec.image}:latest"
        assert document["services"][each.name]["image"] == expected


def test_the_example_is_read_as_it_is_deployed(tmp_path: Path) -> None:
    agrees(load(PROJECT).app_spec(), tmp_path)


def test_every_key_is_read_as_it_is_deployed(tmp_path: Path) -> None:
    agrees(maximal_app(), tmp_path)


def test_one_replica_on_each_node_is_read_as_it_is_deployed(tmp_path: Path) -> None:
    constraints = {"constraints": ["node.role == worker"]}
    agrees(app(service(mode="global", placement=constraints)), tmp_path)


def test_an_empty_variable_is_not_taken_from_around(tmp_path: Path) -> None:
    agrees(app(service(env={"x": "", "y": "1"})), tmp_path)


def test_the_proxy_is_read_as_it_is_deployed(tmp_path: Path) -> None:
    agrees(proxy(), tmp_path)
    settings = ProxySettings.model_validate(
        {
            "email": "ops@example.com",
            "dns_provider": "cloudflare",
            "dns_secrets": ["CF_DNS_API_TOKEN"],
            "certificates": ["example.com"],
            "trusted_proxies": ["192.0.2.0/24"],
        }
    )
    agrees(proxy(settings), tmp_path)


@quick
@given(spec=apps())
@example(spec=maximal_app())
def test_any_app_is_read_as_it_is_deployed(tmp_path: Path, spec: AppSpec) -> None:
    agrees(spec, tmp_path)


def test_another_image_can_be_named(tmp_path: Path) -> None:
    document = parsed(render(load(PROJECT).app_spec()), tmp_path, IMAGE="elsewhere/items:7")
    assert document["services"]["web"]["image"] == "elsewhere/items:7"


def test_a_version_of_a_secret_can_be_named(tmp_path: Path) -> None:
    text = render(maximal_app())
    document = parsed(text, tmp_path, SECRET_DATABASE_URL="items_DATABASE_URL.7")
    names = {name: found["name"] for name, found in document["secrets"].items()}
    assert names == {"API_KEY": "items_API_KEY", "DATABASE_URL": "items_DATABASE_URL.7"}


def test_external_things_keep_their_names(tmp_path: Path) -> None:
    document = parsed(render(maximal_app()), tmp_path)
    assert document["networks"]["backbone"] == {"external": True, "name": "backbone"}
    assert document["networks"]["public"] == {"external": True, "name": "public"}
    assert document["secrets"]["API_KEY"] == {"external": True, "name": "items_API_KEY"}
    assert list(document["volumes"]) == ["data"]
