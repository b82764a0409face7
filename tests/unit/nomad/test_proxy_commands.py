"""The commands of the proxy on Nomad, on the double. Its tasks are scripted: no Traefik runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploytool.__main__ import run
from deploytool.backends.nomad.backend import Nomad
from deploytool.spec import Image
from tests.builders import DIGEST, OTHER_DIGEST
from tests.nomad_double import catalogue
from tests.nomad_double.cluster import Cluster, Script
from tests.nomad_double.nodes import Node
from tests.nomad_double.server import running

HEALTHY = {"ID": "1", "Check": "health", "Status": "success", "Output": "nomad: http ok"}
CONFIG = """
app = "items"
backend = "nomad"
registry = "registry.example.com"

[services.web]
port = 8000
"""


@pytest.fixture
def cluster() -> Cluster:
    nodes = [Node("node-1", address="192.0.2.1"), Node("node-2", address="192.0.2.2")]
    return Cluster(nodes=nodes, checks=[HEALTHY])


@pytest.fixture(autouse=True)
def address(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "deploytool.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Nomad, "resolve", resolve)
    with running(cluster, speed=20) as address:
        monkeypatch.setenv("NOMAD_ADDR", address)
        yield address


def resolve(backend: Nomad, reference: str) -> Image:
    """The answer of a registry."""
    del backend
    repository, _, tag = reference.partition(":")
    digest = OTHER_DIGEST if tag == "v3.8" else DIGEST
    return Image(reference=f"{repository}@{digest}", tag=reference)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def up(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    return ran(capsys, "proxy", "up", "--yes", "--timeout", "20s", *arguments)


def settings(text: str) -> None:
    Path("deploytool.toml").write_text(f"{CONFIG}\n[proxy]\n{text}\n")


def live(cluster: Cluster) -> list[dict[str, Any]]:
    there = cluster.allocations.values()
    return [a for a in there if a["JobID"] == "proxy" and a["DesiredStatus"] == "run"]


def catalogued(cluster: Cluster) -> None:
    """What clients register of the proxy and of an app."""
    (task,) = cluster.jobs["default", "proxy"]["TaskGroups"][0]["Tasks"]
    shared = {"Namespace": "default", "Datacenter": "dc1"}
    own = [
        shared
        | {
            "ID": f"proxy-{a['NodeID']}",
            "ServiceName": "proxy-traefik",
            "JobID": "proxy",
            "AllocID": a["ID"],
            "NodeID": a["NodeID"],
            "Address": node.address,
            "Port": 80,
            "Tags": task["Services"][0]["Tags"],
        }
        for a in live(cluster)
        for node in cluster.nodes
        if node.id == a["NodeID"]
    ]
    tags = ["traefik.enable=true", "traefik.http.routers.shop_web.rule=Host(`shop.example.com`)"]
    shop = shared | {
        "ID": "shop",
        "ServiceName": "shop-web",
        "JobID": "shop",
        "AllocID": "a",
        "NodeID": "n",
        "Address": "192.0.2.9",
        "Port": 20_000,
        "Tags": tags,
    }
    catalogue.register(cluster.state, [*own, shop])


def test_it_runs_on_every_node(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = up(capsys)
    assert (code, found["data"]["changed"]) == (0, True)
    assert (found["data"]["http_port"], found["data"]["network"]) == (80, None)
    assert cluster.jobs["default", "proxy"]["Type"] == "system"
    assert len({a["NodeID"] for a in live(cluster)}) == 2


def test_again_changes_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    up(capsys)
    before = [a["ID"] for a in live(cluster)]
    code, found = up(capsys)
    assert (code, found["data"]["changed"], found["warnings"]) == (0, False, [])
    assert [a["ID"] for a in live(cluster)] == before


def test_changes_say_what_they_cost(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    up(capsys)
    catalogued(cluster)
    before = {a["ID"] for a in live(cluster)}
    settings("http_port = 8080")
    code, found = up(capsys)
    assert (code, found["data"]["http_port"]) == (0, 8080)
    assert [w for w in found["warnings"] if "one node after the other" in w]
    assert [w for w in found["warnings"] if "answer HTTP on port 8080 then" in w]
    assert not before & {a["ID"] for a in live(cluster)}


def test_image_is_pulled_on_every_node_before(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    up(capsys)
    settings('image = "traefik:v3.8"')
    assert up(capsys)[0] == 0
    pulled = [a for a in cluster.allocations.values() if a["JobID"] == "proxy-pull"]
    assert len({a["NodeID"] for a in pulled}) == 2
    newest = min(a["CreateIndex"] for a in live(cluster))
    assert max(a["CreateIndex"] for a in pulled) < newest
    assert ("default", "proxy-pull") not in cluster.jobs


def test_one_node_after_the_other(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    up(capsys)
    settings("http_port = 8080")
    assert up(capsys)[0] == 0
    first, second = sorted(live(cluster), key=lambda a: a["CreateIndex"])
    (health,) = {first["DeploymentStatus"]["Healthy"]}
    assert (health, first["NodeID"] != second["NodeID"]) == (True, True)
    assert second["CreateIndex"] > first["DeploymentStatus"]["ModifyIndex"]


def test_not_done_until_it_has_read_the_routes(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """As without the right to read them, where there are rights. Servers before 1.11."""
    cluster.system_deployments = False
    failing = HEALTHY | {"Status": "failure", "Output": "nomad: http 404"}
    cluster.checks = [failing]
    code, found = ran(capsys, "proxy", "up", "--yes", "--timeout", "2s")
    assert (code, found["error"]["code"]) == (4, "timed_out")
    assert "http 404" in json.dumps(found["error"])
    assert ("default", "proxy") not in cluster.jobs


def test_one_that_fails_is_taken_back(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    up(capsys)
    script = Script(exits_after=0.2, output="unknown flag\n")
    cluster.scripts[f"traefik@{OTHER_DIGEST}"] = script
    settings('image = "traefik:v3.8"')
    code, found = up(capsys)
    assert (code, found["error"]["code"]) == (3, "rolled_back")
    assert "| unknown flag" in found["error"]["details"]


def test_one_that_ends_soon_is_taken_back_by_servers_that_do_not(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers its check, and then ends. Servers before 1.11."""
    cluster.system_deployments = False
    up(capsys)
    before = cluster.jobs["default", "proxy"]["TaskGroups"]
    script = Script(exits_after=20, output="panic\n")
    cluster.scripts[f"traefik@{OTHER_DIGEST}"] = script
    settings('image = "traefik:v3.8"')
    code, found = up(capsys)
    assert (code, found["error"]["code"]) == (3, "rolled_back")
    image = before[0]["Tasks"][0]["Config"]["image"]
    (group,) = cluster.jobs["default", "proxy"]["TaskGroups"]
    assert group["Tasks"][0]["Config"]["image"] == image


def test_ports_that_are_taken(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    group = {
        "Name": "other",
        "Networks": [{"ReservedPorts": [{"Label": "http", "Value": 80}]}],
        "Tasks": [{"Name": "other"}],
    }
    cluster.register("default", {"Job": {"ID": "other", "TaskGroups": [group]}})
    code, found = up(capsys)
    assert (code, found["error"]["code"]) == (1, "does_not_fit")
    assert "the port, which is taken" in json.dumps(found["error"]["details"])


def test_authority_would_ask_another_node(capsys: pytest.CaptureFixture[str]) -> None:
    settings('email = "ops@example.com"')
    code, found = up(capsys)
    assert (code, found["error"]["code"]) == (1, "proxy_several_nodes")
    settings('email = "ops@example.com"\nconstraints = ["node.unique.name == node-1"]')
    assert up(capsys)[0] == 0


def test_https_of_other_apps_is_kept(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    settings('dns_provider = "x"\nemail = "a@b.c"\n')
    assert up(capsys)[0] == 0
    catalogued(cluster)
    shop = cluster.state.services["shop"]
    tags = [*shop["Tags"], "traefik.http.routers.shop_web.entrypoints=https"]
    catalogue.register(cluster.state, [shop | {"Tags": tags}])
    settings("")
    code, found = up(capsys, "--replace")
    assert (code, found["error"]["code"]) == (1, "proxy_in_use")
    assert "entry point https" in found["error"]["message"]


def test_status_says_where_it_is_and_what_it_serves(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    up(capsys)
    catalogued(cluster)
    code, found = ran(capsys, "proxy", "status")
    (service,) = found["data"]["services"]
    assert (code, service["running"], service["replicas"], service["missing"]) == (0, 2, 2, 0)
    assert service["urls"] == ["http://shop.example.com"]
    assert service["ports"] == ["80 of 192.0.2.1", "80 of 192.0.2.2"]


def test_doctor_sees_it_and_what_it_lacks(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def seen() -> tuple[str, str]:
        checks = {c["name"]: c for c in ran(capsys, "doctor")[1]["data"]["checks"]}
        return checks["proxy"]["state"], checks["proxy"]["message"]

    up(capsys)
    catalogued(cluster)
    assert seen() == ("good", "HTTP on port 80, at 192.0.2.1, 192.0.2.2")
    shop = cluster.state.services["shop"]
    tags = [*shop["Tags"], "traefik.http.routers.shop_web.entrypoints=https"]
    catalogue.register(cluster.state, [shop | {"Tags": tags}])
    assert seen() == ("bad", "shop-web needs the entry point https")


def test_down_removes_it(
    cluster: Cluster, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    up(capsys)
    code, found = ran(capsys, "proxy", "down", "--yes")
    assert (code, "service proxy.traefik" in found["data"]["removed"]) == (0, True)
    assert cluster.jobs == {}
    code, found = ran(capsys, "proxy", "status")
    assert (code, found["error"]["code"]) == (2, "not_deployed")


def test_settings_of_another_project_are_kept(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    settings('http_port = 8080\nnamespaces = ["shop"]')
    up(capsys)
    settings('namespaces = ["blog"]')
    code, found = up(capsys)
    assert code == 0
    assert found["data"]["http_port"] == 8080
    (task,) = cluster.jobs["default", "proxy"]["TaskGroups"][0]["Tasks"]
    assert "--providers.nomad.namespaces=blog,default,shop" in task["Config"]["args"]
