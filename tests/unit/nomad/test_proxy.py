"""Traefik on Nomad: what its job says, and what of its settings Nomad does not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploytool.__main__ import run
from deploytool.backends.nomad.specification import proxy
from deploytool.backends.nomad.specification.compile import Compiled, compile_app
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import NEWEST, ServerVersion
from deploytool.backends.swarm import proxy as swarm_proxy
from deploytool.config.nomad import NomadSettings
from deploytool.errors import ConfigError
from deploytool.json_types import Json
from deploytool.spec import AppSpec, ProxySettings

WATCH, POLL = "--providers.nomad.watch=true", "--providers.nomad.refreshinterval=1s"


def compiled(
    version: ServerVersion = NEWEST, namespace: str | None = None, **keys: Any
) -> Compiled:
    settings = ProxySettings.model_validate(keys)
    spec = proxy.app_spec(settings)
    nomad = NomadSettings(namespace=namespace)
    return compile_app(Source(spec, nomad, files=proxy.files(settings), version=version))


def proxy_spec(**keys: Any) -> AppSpec:
    return proxy.app_spec(ProxySettings.model_validate(keys))


def task(found: Compiled) -> Json:
    made: Json = found.job["TaskGroups"][0]["Tasks"][0]
    return made


def arguments(found: Compiled) -> list[str]:
    return list(task(found)["Config"]["args"])


def tags(found: Compiled) -> list[str]:
    return list(task(found)["Services"][0]["Tags"])


def test_it_runs_on_every_node_on_its_own_ports() -> None:
    found = compiled(http_port=8080, email="a@example.com")
    (group,) = found.job["TaskGroups"]
    assert (found.job["ID"], found.job["Type"]) == ("proxy", "system")
    assert [(p["Label"], p["Value"]) for p in group["Networks"][0]["ReservedPorts"]] == [
        ("http", 8080),
        ("https", 443),
    ]
    assert not {"Spreads", "ReschedulePolicy", "Migrate"} & group.keys()
    assert (group["Update"]["MaxParallel"], group["Update"]["Canary"]) == (1, 0)


def test_no_token_is_in_its_job() -> None:
    """It asks through the task's own socket, as the task that it is."""
    found = compiled()
    assert "--providers.nomad.endpoint.address=unix:///secrets/api.sock" in arguments(found)
    assert task(found)["Identity"] == {"Env": True, "File": False}
    assert "token" not in found.text.lower()


def test_new_replicas_are_hidden_from_it_until_they_are_healthy() -> None:
    assert "--providers.nomad.exposedbydefault=false" in arguments(compiled())


def test_its_check_asks_for_a_route_of_the_catalogue() -> None:
    found = compiled()
    (check,) = task(found)["Services"][0]["Checks"]
    assert (check["Path"], check["PortLabel"]) == ("/ready", "ping")
    assert "traefik.http.routers.proxy_ready.rule=Path(`/ready`)" in tags(found)
    assert "traefik.http.routers.proxy_ready.entrypoints=ping" in tags(found)
    assert "--entrypoints.ping.address=:${NOMAD_PORT_ping}" in arguments(found)


def test_routes_of_nobody_do_not_lead_to_the_port_of_its_check() -> None:
    """Traefik gives a router without entry points all of them, or the default ones."""
    assert "--entrypoints.http.asdefault=true" in arguments(compiled())


@pytest.mark.parametrize(("version", "argument"), [((1, 9, 5), POLL), ((1, 9, 6), WATCH)])
def test_it_looks_by_itself_where_events_need_a_token(
    version: tuple[int, int, int], argument: str
) -> None:
    found = compiled(ServerVersion(*version))
    assert argument in arguments(found)
    assert any("every second" in note for note in found.notes) == (argument == POLL)


def test_namespaces_are_named_where_they_are_not_the_usual_one() -> None:
    assert not [a for a in arguments(compiled()) if "namespaces" in a]
    found = compiled(namespace="shop", namespaces=["blog"])
    assert "--providers.nomad.namespaces=blog,shop" in arguments(found)
    assert "deploytool.namespaces=blog,shop" in tags(found)


def test_it_is_told_what_it_is_told_on_a_swarm() -> None:
    keys: dict[str, Any] = {
        "email": "a@example.com",
        "dns_provider": "cloudflare",
        "dns_secrets": ["TOKEN"],
        "dns_resolvers": ["192.0.2.53:53"],
        "trusted_proxies": ["192.0.2.0/24"],
        "certificates": ["example.com"],
    }
    settings = ProxySettings.model_validate(keys)
    other, _ = swarm_proxy.app_spec(settings).services
    found = compiled(**keys)
    apart = ("--providers.swarm", "--providers.nomad", ".address=", ".asdefault=", ".storage=")
    assert [a for a in arguments(found) if not any(word in a for word in apart)] == [
        a for a in other.command or () if not any(word in a for word in apart)
    ]
    assert task(found)["Env"] == other.env
    assert {t["DestPath"] for t in task(found)["Templates"]} >= {
        "secrets/deploytool/TOKEN",
        "secrets/deploytool/example.com",
    }


def test_before_it_knows_the_routes_it_says_so() -> None:
    content = yaml.safe_load(proxy.files(ProxySettings())[proxy.DYNAMIC])
    assert (
        content["http"]["middlewares"]["proxy_starting"]["ipAllowList"]["rejectStatusCode"] == 503
    )


def test_certificates_of_an_authority_are_kept_on_the_node() -> None:
    (volume, _) = task(compiled(email="a@example.com"))["Config"]["mount"]
    assert (volume["type"], volume["source"]) == ("volume", "proxy_certificates")


def test_networks_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        proxy.app_spec(ProxySettings(network="mine", encrypted=True))
    found = [problem.path for problem in caught.value.problems]
    assert found == ["proxy.network", "proxy.encrypted"]


def test_renders_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Traefik's file has is in the job."""
    (tmp_path / "deploytool.toml").write_text(
        'app = "items"\nbackend = "nomad"\nentrypoint = "app.main:app"\n'
        '[services.web]\nport = 8000\n[nomad]\nnamespace = "shop"\n'
        "[proxy]\nhttp_port = 8080\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run(["proxy", "render", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["files"] == ["nomad/proxy.nomad.hcl"]
    text = (tmp_path / "nomad/proxy.nomad.hcl").read_text()
    assert "rejectStatusCode: 503" in text
    assert '"--entrypoints.http.address=:8080"' in text
    assert run(["proxy", "render", "--check"]) == 0
