"""Rendered jobs through the official types of Nomad's Go client library, and HashiCorp's formatter.

Every key of the configuration is in the table: what it becomes, that it is said to have no effect,
or that it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploytool.backends.nomad.specification import hcl, proxy
from deploytool.backends.nomad.specification.compile import (
    Compiled,
    compile_app,
    compile_one_off,
)
from deploytool.backends.nomad.specification.refused import problems
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import NEWEST, OLDEST, ServerVersion
from deploytool.config import load, schema
from deploytool.config.nomad import NomadSettings
from deploytool.json_types import Json
from deploytool.spec import AppSpec, ProxySettings, Service
from docs._generate import TABLES
from tests.builders import DIGEST, app, contents, images, service, worker
from tests.contract.nomad_job import Answered, Asked, check
from tests.strategies import nomad_apps

pytestmark = pytest.mark.contract
PROJECT = Path(__file__).parents[2]
SECOND = 10**9


@dataclass(frozen=True)
class Key:
    """What one key of a configuration is on Nomad."""

    keys: Json = field(default_factory=dict)
    """Of a service."""
    becomes: Mapping[str, Any] = field(default_factory=dict)
    """Path in the canonical job → value; a path that begins with a dot is one in the group."""
    notes: str = ""
    """A part of what is said of it, where it has no effect."""
    refused: str = ""
    """A part of why it is refused."""
    of_app: Json = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    elsewhere: str = ""
    """Who reads it, where it is no part of a job."""


TASK, SERVICE = ".Tasks[0]", ".Tasks[0].Services[0]"
CONFIG = f"{TASK}.Config"
PROXY = "the proxy's own job"
CONNECTION = "how the cluster is reached"
KEYS: dict[str, Key] = {
    "app": Key(becomes={"ID": "items", "Meta": {"deploytool.app": "items"}}),
    "backend": Key(elsewhere="which cluster"),
    "registry": Key(
        becomes={f"{CONFIG}.image": f"registry.example.com/team/items@sha256:{'a' * 64}"}
    ),
    "entrypoint": Key(of_app={"entrypoint": "a.b:c"}, becomes={f"{CONFIG}.args[1]": "a.b:c"}),
    "environments": Key(elsewhere="the configuration"),
    **{
        f"build.{key}": Key(elsewhere="how the image is built")
        for key in ("dockerfile", "context", "platforms", "args", "target", "secrets")
    },
    "services.image": Key(
        {"image": "redis:8", "command": []},
        {f"{CONFIG}.image": f"redis@{DIGEST}", f"{CONFIG}.args": None},
    ),
    "services.replicas": Key({"replicas": 3}, {".Count": 3}),
    "services.port": Key(
        {"port": 9000},
        {
            ".Networks[0].DynamicPorts[0].To": 9000,
            f"{SERVICE}.PortLabel": "http",
            f"{CONFIG}.ports": ["http"],
        },
    ),
    "services.command": Key({"command": ["a", "$${b}"]}, {f"{CONFIG}.args": ["a", '${"$"}$${b}']}),
    "services.prestart": Key(
        {"prestart": ["x", "y z"], "command": ["run"]},
        {f"{CONFIG}.args": ["/bin/sh", "-c", 'x \'y z\' && exec "$0" "$@"', "run"]},
    ),
    "services.env": Key(
        {"env": {"A": "b %{c} {{d}} ${1}"}}, {f"{TASK}.Env.A": "b %{c} {{d}} ${1}"}
    ),
    "services.templates": Key(
        {"env": {"A": '{{ env "node.unique.name" }}'}, "templates": ["env.A"]},
        {
            f"{TASK}.Templates[0].EmbeddedTmpl": 'A={{ env "node.unique.name" }}\n',
            f"{TASK}.Templates[0].Envvars": True,
        },
    ),
    "services.secrets": Key(
        {"secrets": ["TOKEN"]},
        {
            f"{TASK}.Templates[0].DestPath": "secrets/deploytool/TOKEN",
            f"{TASK}.Templates[0].EmbeddedTmpl": '{{ with nomadVar "nomad/jobs/items" }}'
            "{{ .TOKEN.Value }}{{ end }}",
            f"{TASK}.Templates[0].ChangeMode": "noop",
            f"{TASK}.Templates[0].Once": True,
            f"{CONFIG}.volumes": ["secrets/deploytool:/run/secrets:ro"],
        },
    ),
    "services.files": Key(
        {"files": {"/code/a.yml": "a.yml"}},
        {
            f"{TASK}.Templates[0].EmbeddedTmpl": "# a.yml\n",
            f"{TASK}.Templates[0].DestPath": "local/deploytool/95fb0136-a.yml",
            f"{CONFIG}.volumes": ["local/deploytool/95fb0136-a.yml:/code/a.yml:ro"],
        },
    ),
    "services.memory": Key(
        {"memory": "100MiB"},
        {f"{TASK}.Resources.MemoryMB": 100, f"{TASK}.Resources.MemoryMaxMB": -1},
    ),
    "services.memory_limit": Key(
        {"memory_limit": "200MiB"},
        {f"{TASK}.Resources.MemoryMB": 200, f"{TASK}.Resources.MemoryMaxMB": 200},
    ),
    "services.cpu": Key({"cpu": 0.25}, {f"{TASK}.Resources.CPU": 500}),
    "services.cpu_limit": Key(
        {"cpu": 1, "cpu_limit": 2},
        {f"{CONFIG}.cpu_hard_limit": False},
        notes="services.web.cpu_limit has no effect",
    ),
    "services.pids": Key({"pids": 50}, {f"{CONFIG}.pids_limit": 50}),
    "services.tmp_size": Key(
        {"tmp_size": "8MiB"},
        {
            f"{CONFIG}.mount[0]": {
                "type": "tmpfs",
                "target": "/tmp",
                "readonly": False,
                "tmpfs_options": [{"size": 8 * 2**20}],
            }
        },
    ),
    "services.tmpfs": Key(
        {"tmpfs": {"/dev/shm": "8MiB"}},
        {
            f"{CONFIG}.mount[0]": {
                "type": "tmpfs",
                "target": "/dev/shm",
                "readonly": False,
                "tmpfs_options": [{"size": 8 * 2**20}],
            }
        },
    ),
    "services.ulimits": Key(
        {"ulimits": {"nofile": 1024, "core": "0:-1"}},
        {f"{CONFIG}.ulimit": [{"core": "0:-1", "nofile": "1024:1024"}]},
    ),
    "services.hostname": Key({"hostname": "shop"}, {f"{CONFIG}.hostname": "shop"}),
    "services.extra_hosts": Key(
        {"extra_hosts": {"db": "10.0.0.5", "a": "::1"}},
        {f"{CONFIG}.extra_hosts": ["a:::1", "db:10.0.0.5"]},
    ),
    "services.env_file": Key(elsewhere="where the project is"),
    "services.logging.driver": Key(
        {"logging": {"driver": "syslog"}}, {f"{CONFIG}.logging": [{"type": "syslog"}]}
    ),
    "services.logging.options": Key(
        {"logging": {"options": {"tag": "${x}", "labels": "a"}}},
        {f"{CONFIG}.logging": [{"type": "json-file", "config": [{"labels": "a", "tag": "$${x}"}]}]},
    ),
    "services.domains": Key(
        {"domains": ["a.example"]},
        {f"{SERVICE}.Tags[6]": "traefik.http.routers.items_web.rule=Host(`a.example`)"},
    ),
    "services.path_prefix": Key(
        {"domains": ["a.example"], "path_prefix": "/v1"},
        {f"{SERVICE}.Tags[1]": "traefik.http.middlewares.items_web.stripprefix.prefixes=/v1"},
    ),
    "services.drain": Key({"drain": "7s"}, {f"{TASK}.ShutdownDelay": 7 * SECOND}),
    "services.stop_grace": Key({"stop_grace": "20s"}, {f"{TASK}.KillTimeout": 15 * SECOND}),
    "services.volumes": Key(
        {"volumes": ["data:/data", "/srv/${x}:/srv:ro"]},
        {
            f"{CONFIG}.mount[0]": {
                "type": "volume",
                "source": "items_data",
                "target": "/data",
                "readonly": False,
            },
            f"{CONFIG}.mount[1]": {
                "type": "bind",
                "source": "/srv/$${x}",
                "target": "/srv",
                "readonly": True,
            },
            ".Constraints[0].LTarget": "${attr.driver.docker.volumes.enabled}",
        },
    ),
    "services.read_only": Key({"read_only": False}, {f"{CONFIG}.readonly_rootfs": False}),
    "services.init": Key({"init": True}, {f"{CONFIG}.init": True}),
    "services.user": Key({"user": "1000:1000"}, {f"{TASK}.User": "1000:1000"}),
    "services.capabilities": Key(
        {"capabilities": ["CAP_CHOWN"]},
        {f"{CONFIG}.cap_drop": ["all"], f"{CONFIG}.cap_add": ["chown"]},
    ),
    "services.labels": Key(
        {"labels": {"team": "red", "traefik.http.routers.items_web.middlewares": "auth"}},
        {
            ".Meta": {"team": "red"},
            f"{SERVICE}.Tags[4]": "traefik.http.routers.items_web.middlewares=items_web_retry,auth",
        },
    ),
    "services.mode": Key({"mode": "global"}, refused="a job of type system"),
    "services.networks": Key({"networks": ["backbone"]}, refused="no networks to attach to"),
    "services.depends_on": Key(elsewhere="the order in which a deploy registers groups"),
    "services.publish.port": Key(
        {"publish": {"port": 8080, "mode": "host"}},
        {
            ".Networks[0].ReservedPorts[0]": {
                "Label": "publish_8080",
                "Value": 8080,
                "To": 8000,
                "HostNetwork": "",
                "IgnoreCollision": False,
            },
            f"{CONFIG}.ports": ["http", "publish_8080"],
        },
    ),
    "services.publish.target": Key(
        {"publish": {"port": 8080, "target": 81, "mode": "host"}},
        {".Networks[0].ReservedPorts[0].To": 81},
    ),
    "services.publish.mode": Key({"publish": {"port": 8080}}, refused="leads from every node"),
    "services.publish.protocol": Key(
        {"publish": {"port": 53, "target": 53, "mode": "host", "protocol": "udp"}},
        {".Networks[0].ReservedPorts[0].Value": 53},
    ),
    "services.healthcheck.path": Key(
        {"healthcheck": {"path": "/up"}},
        {
            f"{SERVICE}.Checks[0].Path": "/up",
            f"{SERVICE}.Checks[0].Type": "http",
            f"{SERVICE}.Checks[0].Header": {"Host": ["items.localhost"]},
            ".Update.HealthCheck": "checks",
        },
    ),
    "services.healthcheck.command": Key(
        {"healthcheck": {"command": ["true"]}}, refused="runs no commands"
    ),
    "services.healthcheck.interval": Key(
        {"healthcheck": {"path": "/", "interval": "7s"}},
        {f"{SERVICE}.Checks[0].Interval": 7 * SECOND},
    ),
    "services.healthcheck.timeout": Key(
        {"healthcheck": {"path": "/", "timeout": "2s"}},
        {f"{SERVICE}.Checks[0].Timeout": 2 * SECOND},
    ),
    "services.healthcheck.retries": Key(
        {"healthcheck": {"path": "/", "retries": 9}},
        {f"{SERVICE}.Checks[0].CheckRestart.Limit": 9},
    ),
    "services.healthcheck.start_period": Key(
        {"healthcheck": {"path": "/", "start_period": "1m"}},
        {f"{SERVICE}.Checks[0].CheckRestart.Grace": 60 * SECOND},
    ),
    "services.healthcheck.start_interval": Key(
        {"healthcheck": {"path": "/", "start_interval": "1s"}},
        notes="services.web.healthcheck.start_interval has no effect",
    ),
    "services.restart.condition": Key(
        {"restart": {"condition": "none"}}, refused="starts what a service runs again"
    ),
    "services.restart.delay": Key(
        {"restart": {"delay": "9s"}},
        {".RestartPolicy.Delay": 9 * SECOND, ".ReschedulePolicy.Delay": 9 * SECOND},
    ),
    "services.restart.max_attempts": Key(
        {"restart": {"max_attempts": 4}},
        {".RestartPolicy.Attempts": 4, ".ReschedulePolicy.Unlimited": False},
    ),
    "services.restart.window": Key(
        {"restart": {"max_attempts": 4, "window": "2m"}}, {".RestartPolicy.Interval": 120 * SECOND}
    ),
    "services.update.parallelism": Key(
        {"replicas": 4, "update": {"parallelism": 2}},
        {".Update.MaxParallel": 2, ".Update.Canary": 2, ".Migrate.MaxParallel": 2},
    ),
    "services.update.order": Key(
        {"replicas": 4, "update": {"order": "blue-green"}},
        {".Update.Canary": 4, ".Update.AutoPromote": True},
    ),
    "services.update.delay": Key(
        {"update": {"delay": "3s"}}, notes="services.web.update.delay has no effect"
    ),
    "services.update.monitor": Key(
        {"update": {"monitor": "8s"}}, {".Update.MinHealthyTime": 8 * SECOND}
    ),
    "services.update.on_failure": Key(
        {"update": {"on_failure": "pause"}}, {".Update.AutoRevert": False}
    ),
    "services.update.max_failure_ratio": Key(
        {"update": {"max_failure_ratio": 0.5}},
        notes="services.web.update.max_failure_ratio has no effect",
    ),
    "services.placement.constraints": Key(
        {"placement": {"constraints": ["node.labels.disk == ssd"]}},
        {".Constraints[0]": {"LTarget": "${meta.disk}", "Operand": "=", "RTarget": "ssd"}},
    ),
    "services.placement.spread": Key(
        {"placement": {"spread": ["node.datacenter"]}},
        {".Spreads[0].Attribute": "${node.datacenter}", ".Spreads[0].Weight": 100},
    ),
    "services.placement.max_per_node": Key(
        {"placement": {"max_per_node": 2}},
        {
            ".Constraints[0]": {
                "LTarget": "${node.unique.id}",
                "Operand": "distinct_property",
                "RTarget": "2",
            }
        },
    ),
    "services.logging.max_size": Key(
        {"logging": {"max_size": "5MiB"}}, {f"{TASK}.LogConfig.MaxFileSizeMB": 5}
    ),
    "services.logging.max_files": Key(
        {"logging": {"max_files": 100}},
        {f"{TASK}.LogConfig.MaxFiles": 100, ".EphemeralDisk.SizeMB": 2100},
    ),
    **{
        f"release.{key}": Key(elsewhere="the job of the release step")
        for key in ("command", "timeout", "service")
    },
    "proxy.subnet": Key(
        of_app={"proxy": {"subnet": "10.7.0.0/16"}},
        becomes={f"{TASK}.Env.FORWARDED_ALLOW_IPS": "10.7.0.0/16,172.17.0.0/16"},
    ),
    "proxy.trusted_proxies": Key(
        of_app={"proxy": {"subnet": "10.7.0.0/16", "trusted_proxies": ["192.0.2.0/24"]}},
        becomes={f"{TASK}.Env.FORWARDED_ALLOW_IPS": "10.7.0.0/16,172.17.0.0/16,192.0.2.0/24"},
    ),
    "proxy.hsts": Key(
        {"domains": ["a.example"]},
        of_app={"proxy": {"email": "a@example.com", "hsts": "1m"}},
        becomes={
            f"{SERVICE}.Tags[1]": "traefik.http.middlewares.items_web_hsts.headers."
            "customresponseheaders.Strict-Transport-Security=max-age=60"
        },
    ),
    "proxy.https_port": Key(
        {"domains": ["a.example"]},
        of_app={"proxy": {"email": "a@example.com", "https_port": 8444}},
        becomes={
            f"{SERVICE}.Tags[2]": "traefik.http.middlewares.items_web_redirect.redirectscheme."
            "port=8444"
        },
    ),
    **{
        f"proxy.{key}": Key(elsewhere=PROXY)
        for key in (
            *("network", "http_port", "email", "acme_directory", "acme_ca", "acme_profile"),
            *("certificate_lifetime", "dns_provider", "dns_secrets", "dns_resolvers", "dns_check"),
            *("certificates", "env", "image", "constraints", "namespaces"),
            "access_log",
            "read_timeout",
        )
    },
    "proxy.encrypted": Key(elsewhere="the Swarm"),
    "proxy.socket_proxy_image": Key(elsewhere="the Swarm"),
    "swarm.host": Key(elsewhere="the Swarm"),
    "swarm.context": Key(elsewhere="the Swarm"),
    "nomad.region": Key(settings={"region": "eu"}, becomes={"Region": "eu"}),
    "nomad.namespace": Key(settings={"namespace": "shop"}, becomes={"Namespace": "shop"}),
    "nomad.datacenters": Key(
        settings={"datacenters": ["b", "a"]}, becomes={"Datacenters": ["a", "b"]}
    ),
    "nomad.node_pool": Key(settings={"node_pool": "web"}, becomes={"NodePool": "web"}),
    "nomad.mhz_per_core": Key(
        {"cpu": 2}, settings={"mhz_per_core": 3000}, becomes={f"{TASK}.Resources.CPU": 6000}
    ),
    **{
        f"nomad.{key}": Key(elsewhere=CONNECTION)
        for key in (
            *("address", "token_file", "ca_cert", "client_cert", "client_key"),
            "tls_server_name",
        )
    },
}
"""Every key of the configuration, by its path."""


def compiled(key: Key, version: ServerVersion = NEWEST) -> Compiled:
    spec = app(service(**key.keys), backend="nomad", **key.of_app)
    source = Source(
        app=spec,
        settings=NomadSettings.model_validate(key.settings),
        images=images(spec),
        files=contents(*spec.services),
        version=version,
    )
    return compile_app(source)


def asked(name: str, job: Json) -> Asked:
    return Asked(name, json.dumps({"Job": job}), hcl.render(job))


def sources() -> dict[str, Source]:
    """Whole apps."""
    example = load(PROJECT, environ={}).app_spec().model_copy(update={"backend": "nomad"})
    several = app(
        service(depends_on=["cache"], secrets=["A-B", "C"], files={"/a": "a.yml"}),
        worker(replicas=0),
        Service(name="cache", image="redis:8", command=(), read_only=False, port=6379),
        backend="nomad",
        environment="production",
    )
    platforms = (("amd64", "linux"), ("arm64", "linux"))
    return {
        "example": Source(example, images=images(example)),
        "several": Source(
            several,
            NomadSettings(namespace="shop", datacenters=("dc1", "dc2")),
            images(several, platforms=platforms),
            {"C": "nomad/jobs/items/web:C__3"},
            contents(*several.services),
        ),
        "proxy": of_proxy(),
        "proxy with everything": of_proxy(
            email="ops@example.com",
            dns_provider="cloudflare",
            dns_secrets=["CF_DNS_API_TOKEN"],
            certificates=["example.com"],
            acme_ca="COMPANY",
            trusted_proxies=["192.0.2.0/24"],
            constraints=["node.labels.edge == true"],
            namespaces=["shop"],
            env={"A": "b"},
        ),
        "oldest": Source(several, files=contents(*several.services), version=OLDEST),
        "binary": Source(
            app(service(files={"/a": "a.bin"}), backend="nomad"), files={"a.bin": b"\xff\x00"}
        ),
    }


def of_proxy(**keys: Any) -> Source:
    chosen = ProxySettings.model_validate(keys)
    spec = proxy.app_spec(chosen)
    return Source(spec, images=images(spec), files=proxy.files(chosen))


@pytest.fixture(scope="module")
def answers() -> Mapping[str, Answered]:
    """What the official types make of every job here, asked once."""
    table = {name: compiled(key).job for name, key in KEYS.items() if not key.refused}
    whole = {name: compile_app(source).job for name, source in sources().items()}
    source = sources()["several"]
    web = source.app.services[0]
    step = compile_one_off(source, web, "items-release-v7", ["alembic", "$${x}"], "v7")
    pull = compile_one_off(of_proxy(), of_proxy().app.services[0], "proxy-pull", ["version"], "v1")
    jobs = table | whole | {"release step": step, "pull": pull}
    return check([asked(name, job) for name, job in jobs.items()])


def at(job: Json, path: str) -> Any:
    """The value at a path such as ".Tasks[0].Config.image", of a job's only group."""
    found: Any = job["TaskGroups"][0] if path.startswith(".") else job
    for part in path.removeprefix(".").replace("[", ".[").split("."):
        found = found[int(part[1:-1])] if part.startswith("[") else found.get(part)
    return found


def keys_of_the_schema() -> set[str]:
    described = schema()
    models = described["$defs"] | {"Config": described}
    tables = {path for path, _, _ in TABLES}
    every = {
        f"{path}.{key}" if path else key
        for path, _, model in TABLES
        for key in models[model]["properties"]
    }
    return every - tables


def test_every_key_is_in_the_table() -> None:
    assert keys_of_the_schema() == KEYS.keys()


def test_every_key_is_in_the_documentation() -> None:
    text = (PROJECT / "docs/nomad.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    elsewhere = {name for name, key in KEYS.items() if key.elsewhere}
    assert rows - elsewhere == KEYS.keys() - elsewhere


@pytest.mark.parametrize("name", [n for n, key in KEYS.items() if not key.refused])
def test_the_official_types_read_what_a_key_becomes(
    name: str, answers: Mapping[str, Answered]
) -> None:
    assert answers[name].problems == ()
    assert {path: at(answers[name].job, path) for path in KEYS[name].becomes} == KEYS[name].becomes


@pytest.mark.parametrize("name", [n for n, key in KEYS.items() if key.notes])
def test_what_has_no_effect_is_said(name: str) -> None:
    assert [note for note in compiled(KEYS[name]).notes if KEYS[name].notes in note]


@pytest.mark.parametrize("name", [n for n, key in KEYS.items() if key.refused])
def test_what_nomad_cannot_do_is_refused(name: str) -> None:
    spec = app(service(**KEYS[name].keys), backend="nomad")
    (problem,) = problems(spec)
    assert f"services.web.{name.removeprefix('services.')}".startswith(problem.path)
    assert KEYS[name].refused in problem.message
    assert problem.hint


@pytest.mark.parametrize("name", [*sources(), "release step", "pull"])
def test_the_official_types_read_whole_apps(name: str, answers: Mapping[str, Answered]) -> None:
    assert answers[name].problems == ()


def test_a_release_step_is_never_started_again(answers: Mapping[str, Answered]) -> None:
    job = answers["release step"].job
    assert (job["Type"], at(job, ".RestartPolicy.Attempts")) == ("batch", 0)
    assert at(job, ".ReschedulePolicy.Unlimited") is False
    assert at(job, ".ReschedulePolicy.Attempts") == 0
    assert at(job, ".Disconnect.Replace") is False
    assert answers["release step"].settings["web/web"]["args"] == ["alembic", "$${x}"]


def test_the_proxy_is_in_the_network_of_its_node(answers: Mapping[str, Answered]) -> None:
    job, settings = answers["proxy"].job, answers["proxy"].settings["traefik/traefik"]
    assert job["Type"] == "system"
    assert at(job, ".Spreads") is at(job, ".ReschedulePolicy") is at(job, ".Migrate") is None
    assert (settings["network_mode"], settings["cap_add"]) == ("host", ["net_bind_service"])
    assert settings["args"][-1] == "--entrypoints.ping.address=:23456"
    assert at(job, f"{TASK}.Identity")["Env"] is True


def test_an_image_is_pulled_on_every_node_of_the_proxy(answers: Mapping[str, Answered]) -> None:
    job = answers["pull"].job
    assert (job["Type"], at(job, ".ReschedulePolicy")) == ("sysbatch", None)
    assert answers["pull"].settings["traefik/traefik"]["args"] == ["version"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('job "a" {\n  count = 1\n}\n', "there is no attribute count"),
        ('job "a" {\n  groups "b" {\n  }\n}\n', "there is no block groups"),
        ('job "a" {\n  name = var.x\n}\n', "Variables not allowed"),
        ('job "a" {\n  name   = "a"\n}\n', "formatted otherwise"),
        ('job "a" {\n  priority = 7\n}\n', "JSON and HCL differ"),
    ],
)
def test_what_is_wrong_is_found(text: str, problem: str) -> None:
    """The program that checks can fail."""
    (answer,) = check([Asked("x", '{"Job": {"ID": "a"}}', text)]).values()
    assert problem in "".join(answer.problems)


def test_unknown_fields_are_found() -> None:
    (answer,) = check([Asked("x", '{"Job": {"ID": "a", "Cuont": 1}}')]).values()
    assert "unknown field" in answer.problems[0]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(nomad_apps())
def test_any_app_is_the_same_job_as_json_and_as_hcl(spec: AppSpec) -> None:
    job = compile_app(Source(spec, images=images(spec), files=contents(*spec.services))).job
    (answer,) = check([asked("x", job)]).values()
    assert answer.problems == ()


NASTY = (
    *("\r%%{", "\r\r${", "a\r%{", "x\r\r\r%${", "\r<%%{", "\r<p>${x}"),
    *("${HOME", "$${", "$$${x}", "%{if a}", "%%{", "$%{", "%${", "$", "{", "{{ x }}", "\\${"),
    *("a\n$${x}\n\n", "a\n%{b}\n${1}\n", "<<EOF\nEOF\n\n", " EOF\n\n", "a\tb\n\nc\n", "\r\n\r\n"),
    *(
        '"',
        "\\",
        "\\n",
        "#",
        "//",
        "\u2028",
        "\ufeff",
        "\u00ad",
        "\U0001f600",
        "\x7f",
        "\x01",
        "\x08\x0c",
        "\x85",
    ),
)
ODD = st.text(
    st.sampled_from("$%{}\"\\`'~ \n\t\r=#EOF<-aé\u0301\u2028\u00ad\U0001f600\x7f\x01"), max_size=12
)


@settings(max_examples=3, deadline=None)
@given(st.lists(ODD, min_size=60, max_size=120))
@example(list(NASTY))
def test_any_text_is_read_as_it_is_written(texts: list[str]) -> None:
    """Wherever somebody's own text stands. Text that cannot be kept is refused."""
    spec = app(
        service(
            command=["run", *texts],
            env={f"V{n}": text for n, text in enumerate(texts)},
            files={f"/f{n}": f"f{n}" for n in range(len(texts))},
        ),
        backend="nomad",
    )
    lost = {problem.path.rpartition(".")[2] for problem in problems(spec)}
    kept = [text for n, text in enumerate(texts) if f"V{n}" not in lost]
    files = {f"f{n}": text.encode() or b"-" for n, text in enumerate(texts)}
    spec = app(
        service(
            command=["run", *kept],
            env={f"V{n}": text for n, text in enumerate(kept)},
            files={f"/f{n}": f"f{n}" for n in range(len(texts))},
        ),
        backend="nomad",
    )
    job = compile_app(Source(spec, files=files)).job
    (answer,) = check([asked("x", job)]).values()
    assert answer.problems == ()
    env = at(answer.job, f"{TASK}.Env")
    assert [env[f"V{n}"] for n in range(len(kept))] == kept
    assert answer.settings["web/web"]["args"] == ["run", *kept]
