"""AppSpec → job: everything explicit, nothing that a server would refuse, the same bytes again."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from deploytool.backends.nomad.specification import (
    hcl,
    literal,
    placement,
    policies,
    refused,
    secrets,
    services,
    task,
)
from deploytool.backends.nomad.specification.compile import (
    compile_app,
    compile_one_off,
    compile_release,
)
from deploytool.backends.nomad.specification.task import Source
from deploytool.backends.nomad.specification.version import NEWEST, OLDEST, ServerVersion
from deploytool.config import load
from deploytool.config.nomad import NomadSettings
from deploytool.errors import ConfigError
from deploytool.json_types import Json
from deploytool.spec import AppSpec, Service
from tests.builders import DIGEST, app, contents, images, release, service, worker
from tests.strategies import nomad_apps, quick

PROJECT = Path(__file__).parents[3]
SECOND = 10**9
PLATFORMS = (("amd64", "linux"), ("arm64", "linux"))


class Hcl(SingleFileSnapshotExtension):
    file_extension = "hcl"
    _write_mode = WriteMode.TEXT


def example() -> AppSpec:
    found = load(PROJECT, environ={}).app_spec()
    return found.model_copy(update={"backend": "nomad"})


def large() -> AppSpec:
    """An app in which everything is set that Nomad can do."""
    return app(
        service(
            replicas=3,
            command=["uvicorn", "app.main:app", "--header", "x-price:$5 ${HOME}"],
            prestart=["python", "-m", "app.warm up"],
            env={"PRICE": "$5", "EMPTY": "", "NODE": '{{ env "node.unique.name" }}'},
            templates=["env.NODE"],
            secrets=["DATABASE_URL", "API-KEY"],
            files={"/code/web.yml": "config/web.yml"},
            memory="128MiB",
            memory_limit="256MiB",
            cpu=0.25,
            cpu_limit=0.25,
            domains=["shop.example.com", "*.example.com"],
            path_prefix="/v1/",
            publish={"port": 8080, "mode": "host"},
            drain="7s",
            stop_grace="35s",
            volumes=["data:/data", "/srv/{{files}}:/files:ro"],
            user="1000:1000",
            init=True,
            capabilities=["NET_BIND_SERVICE"],
            labels={"traefik.http.routers.items_web.middlewares": "auth", "price": "$5"},
            restart={"delay": "2s", "max_attempts": 4, "window": "2m"},
            update={"parallelism": 2, "monitor": "9s", "on_failure": "pause"},
            placement={
                "constraints": ["node.labels.disk == ssd", "node.platform.arch != aarch64"],
                "spread": ["node.labels.zone"],
                "max_per_node": 1,
            },
            depends_on=["worker"],
        ),
        worker(replicas=0),
        Service(name="cache", image="redis:8", command=(), read_only=False, port=6379),
        backend="nomad",
        environment="production",
        proxy={"email": "ops@example.com", "hsts": "365d", "subnet": "10.200.0.0/16"},
    )


def compiled(spec: AppSpec, **keys: Any) -> Json:
    chosen = images(spec, platforms=PLATFORMS)
    found = Source(spec, images=chosen, files=contents(*spec.services), **keys)
    return compile_app(found).job


def group(**keys: Any) -> Json:
    found: Json = compiled(app(service(**keys), backend="nomad"))["TaskGroups"][0]
    return found


def task_of(**keys: Any) -> Json:
    found: Json = group(**keys)["Tasks"][0]
    return found


@pytest.mark.parametrize("name", ["example", "large"])
def test_jobs(name: str, snapshot: SnapshotAssertion) -> None:
    spec = example() if name == "example" else large()
    job = compiled(spec, secrets={"DATABASE_URL": "nomad/jobs/items/web:DATABASE_URL__3"})
    assert job == snapshot(extension_class=JSONSnapshotExtension)
    assert hcl.render(job) == snapshot(extension_class=Hcl, name=f"{name}-text")


def test_a_release_step(snapshot: SnapshotAssertion) -> None:
    spec = large()
    source = Source(spec, images=images(spec), files=contents(*spec.services))
    job = compile_one_off(source, spec.services[0], "items-release-v7", ["alembic"], "v7")
    assert hcl.render(job) == snapshot(extension_class=Hcl)


@quick
@given(nomad_apps())
def test_the_same_app_is_the_same_bytes(spec: AppSpec) -> None:
    files = contents(*spec.services)
    first = compile_app(Source(spec, files=files))
    turned = spec.model_copy(update={"services": spec.services[::-1]})
    assert compile_app(Source(turned, files=files)).text == first.text
    assert hcl.render(first.job) == hcl.render(compile_app(Source(turned, files=files)).job)


@quick
@given(nomad_apps())
def test_no_policy_is_one_that_a_server_refuses(spec: AppSpec) -> None:
    """`Validate` of UpdateStrategy, RestartPolicy and ReschedulePolicy in Nomad's structs.go."""
    for one in compile_app(Source(spec, files=contents(*spec.services))).job["TaskGroups"]:
        update, restart, again = one["Update"], one["RestartPolicy"], one["ReschedulePolicy"]
        assert update["MinHealthyTime"] < update["HealthyDeadline"]
        assert update["ProgressDeadline"] == 0
        assert update["Canary"] > 0 or not update["AutoPromote"]
        assert restart["Interval"] >= 5 * SECOND
        assert restart["Attempts"] * restart["Delay"] <= restart["Interval"]
        assert not again["Unlimited"] or 5 * SECOND <= again["Delay"] <= again["MaxDelay"]
        resources, logs = one["Tasks"][0]["Resources"], one["Tasks"][0]["LogConfig"]
        assert resources["MemoryMaxMB"] == -1 or resources["MemoryMaxMB"] >= resources["MemoryMB"]
        assert resources["CPU"] >= 1
        assert resources["MemoryMB"] >= 10
        assert logs["MaxFiles"] * logs["MaxFileSizeMB"] < one["EphemeralDisk"]["SizeMB"]


# --- releases -------------------------------------------------------------------------------------


def test_a_release_runs_its_digests_and_its_versions_of_secrets() -> None:
    spec = app(service(secrets=["TOKEN"]), backend="nomad")
    done = release(spec, 7, secrets={"TOKEN": "nomad/jobs/items/web/web:TOKEN__2"})
    web = compile_release(done, NomadSettings(), files={}).job["TaskGroups"][0]
    assert web["Tasks"][0]["Config"]["image"].endswith(f"@{DIGEST}")
    (template,) = web["Tasks"][0]["Templates"]
    assert template["EmbeddedTmpl"] == (
        '{{ with nomadVar "nomad/jobs/items/web/web" }}{{ .TOKEN__2.Value }}{{ end }}'
    )


def test_only_groups_that_change_are_stamped_with_a_release() -> None:
    spec = app(service(), worker(), backend="nomad")
    job = compile_release(release(spec, 7), NomadSettings(), files={}, releases={"web": "v7"}).job
    assert [g.get("Meta") for g in job["TaskGroups"]] == [{"deploytool.release": "v7"}, None]
    assert job["Meta"] == {"deploytool.app": "items"}
    assert "v7" not in json.dumps(compile_release(release(spec, 7), NomadSettings(), files={}).job)


def test_a_release_step_reads_secrets_at_its_own_path() -> None:
    spec = app(service(secrets=["A", "B"]), backend="nomad")
    source = Source(spec, secrets={"A": "nomad/jobs/items/web:A__2"})
    job = compile_one_off(source, spec.services[0], "items-run", ["x"], "v1")
    texts = [t["EmbeddedTmpl"] for t in job["TaskGroups"][0]["Tasks"][0]["Templates"]]
    assert texts == [
        '{{ with nomadVar "nomad/jobs/items-run" }}{{ .A__2.Value }}{{ end }}',
        '{{ with nomadVar "nomad/jobs/items-run" }}{{ .B.Value }}{{ end }}',
    ]


# --- secrets and files ----------------------------------------------------------------------------


def test_the_variables_of_a_service_are_those_that_its_identity_may_read() -> None:
    assert secrets.paths("items", "web") == (
        "nomad/jobs/items",
        "nomad/jobs/items/web",
        "nomad/jobs/items/web/web",
    )


@pytest.mark.parametrize(
    ("key", "item"),
    [
        (secrets.version_key("TOKEN", 3), ".TOKEN__3.Value"),
        (secrets.version_key("KEY", 1, is_text=False), ".KEY__1__base64.Value | base64Decode"),
        ("a.b-c", '(index . "a.b-c").Value'),
        ("Keys", '(index . "Keys").Value'),
        ("2", '(index . "2").Value'),
    ],
)
def test_versions_of_secrets_are_items_of_a_variable(key: str, item: str) -> None:
    version = secrets.SecretVersion("nomad/jobs/items", key)
    assert secrets.SecretVersion.parse(str(version)) == version
    assert secrets.template(version) == f'{{{{ with nomadVar "{version.path}" }}}}' + (
        f"{{{{ {item} }}}}{{{{ end }}}}"
    )


def test_another_version_of_a_secret_is_another_template_and_nothing_else() -> None:
    spec = app(service(secrets=["A"]), backend="nomad")
    first = compiled(spec, secrets={"A": "nomad/jobs/items:A__1"})
    second = compiled(spec, secrets={"A": "nomad/jobs/items:A__2"})
    assert json.dumps(first).replace("A__1", "A__2") == json.dumps(second)


def test_a_file_is_literal_whatever_is_in_it() -> None:
    spec = app(service(files={"/a": "a"}), backend="nomad")

    def template(content: bytes) -> Json:
        job = compile_app(Source(spec, files={"a": content})).job
        found: Json = job["TaskGroups"][0]["Tasks"][0]["Templates"][0]
        return found

    braces = template(b"{{ x }} <<deploytool0: y :>>")
    assert braces["EmbeddedTmpl"] == "{{ x }} <<deploytool0: y :>>"
    assert braces["LeftDelim"] == "<<deploytool1:"
    binary = template(b"\xff\0")
    encoded = base64.b64encode(b"\xff\0").decode()
    assert binary["EmbeddedTmpl"] == f'{{{{ "{encoded}" | base64Decode }}}}'
    assert (binary["LeftDelim"], binary["RightDelim"]) == ("{{", "}}")
    assert "base64Decode" in template("a\u0301".encode())["EmbeddedTmpl"]


# --- rollouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "update", "canaries", "parallel"),
    [
        (4, {}, 1, 1),
        (4, {"parallelism": 2}, 2, 2),
        (1, {"parallelism": 3}, 1, 3),
        (0, {}, 0, 1),
        (4, {"order": "stop-first"}, 0, 1),
        (4, {"order": "blue-green"}, 4, 1),
    ],
)
def test_canaries(replicas: int, update: Json, canaries: int, parallel: int) -> None:
    found = group(replicas=replicas, update=update)["Update"]
    assert (found["Canary"], found["MaxParallel"]) == (canaries, parallel)
    assert found["AutoPromote"] is (canaries > 0)


def test_canaries_get_no_traffic() -> None:
    (found,) = task_of()["Services"]
    assert found["CanaryTags"] == ["traefik.enable=false"]
    assert "traefik.enable=true" in found["Tags"]


def test_the_proxy_is_told_no_port_as_nomad_chooses_it() -> None:
    (found,) = task_of(domains=["a.example"])["Services"]
    assert not [tag for tag in found["Tags"] if ".server.port=" in tag]
    balancer = "traefik.http.services.items_web.loadbalancer"
    assert f"{balancer}.passhostheader=true" in found["Tags"]
    assert f"{balancer}.healthcheck.path=/health" in found["Tags"]


@pytest.mark.parametrize(
    ("domains", "host"),
    [
        (["*.example.com", "a.example"], "a.example"),
        (["*.example.com"], "health.example.com"),
        ([], "localhost"),
    ],
)
def test_checks_ask_for_a_name_that_is_served(domains: list[str], host: str) -> None:
    (found,) = task_of(domains=domains)["Services"]
    assert found["Checks"][0]["Header"] == {"Host": [host]}


def test_a_service_leaves_the_catalogue_before_it_is_asked_to_stop() -> None:
    found = task_of(drain="7s", stop_grace="30s")
    assert (found["ShutdownDelay"], found["KillTimeout"]) == (7 * SECOND, 23 * SECOND)
    assert found["KillSignal"] == "SIGTERM"


def test_the_image_s_own_process_is_asked_by_the_image_s_own_signal() -> None:
    assert "KillSignal" not in task_of(image="redis:8", command=[])


def test_what_has_no_port_has_the_whole_grace_and_is_in_no_catalogue() -> None:
    spec = app(worker(stop_grace="20s"), backend="nomad")
    found = compiled(spec)["TaskGroups"][0]
    assert "Networks" not in found
    assert "Services" not in found["Tasks"][0]
    assert found["Tasks"][0]["KillTimeout"] == 20 * SECOND
    assert found["Update"]["HealthCheck"] == "task_states"


def test_names_in_the_catalogue_are_short_enough_and_different() -> None:
    one = services.service_name("a" * 40, "b" * 40)
    other = services.service_name("a" * 40, "b" * 39)
    assert len(one) <= 63
    assert one != other
    assert services.service_name("items", "web") == "items-web"


# --- placement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left", "operand", "right"),
    [
        ("node.labels.disk == ssd", "${meta.disk}", "=", "ssd"),
        ("node.hostname != a", "${attr.unique.hostname}", "!=", "a"),
        ("node.platform.arch == x86_64", "${attr.cpu.arch}", "=", "amd64"),
        ("${attr.kernel.name} == linux", "${attr.kernel.name}", "=", "linux"),
        ("node.class == big", "${node.class}", "=", "big"),
    ],
)
def test_constraints(text: str, left: str, operand: str, right: str) -> None:
    assert placement.expression(text) == placement.constraint(left, operand, right)


@pytest.mark.parametrize("text", ["node.role == manager", "a == b", "node.class == ${attr.x}"])
def test_constraints_that_nomad_does_not_have(text: str) -> None:
    with pytest.raises(ValueError, match=r"Nomad|attribute"):
        placement.expression(text)


def test_an_image_runs_where_it_can() -> None:
    found = group()["Constraints"]
    assert placement.constraint("${attr.cpu.arch}", "regexp", "^(amd64|arm64)$") in found
    assert placement.constraint("${attr.kernel.name}", "=", "linux") in found


def test_replicas_are_spread_over_the_nodes() -> None:
    assert group()["Spreads"] == [{"Attribute": "${node.unique.id}", "Weight": 50}]


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.10.2", (1, 10, 2)),
        ("2.0.6-dev", (2, 0, 6)),
        ("v1.9.0+ent", (1, 9, 0)),
        ("1.8", (1, 8, 0)),
    ],
)
def test_versions(text: str, version: tuple[int, int, int]) -> None:
    assert ServerVersion.parse(text) == version


def test_what_is_no_version() -> None:
    with pytest.raises(ValueError, match="no version"):
        ServerVersion.parse("newest")


def test_what_a_server_does_not_know_is_left_out_and_said() -> None:
    spec = app(service(secrets=["A"]), backend="nomad")
    old = compile_app(Source(spec, version=OLDEST))
    new = compile_app(Source(spec, version=NEWEST))
    assert "MemoryMaxMB" not in json.dumps(old.job)
    assert '"Once"' not in json.dumps(old.job)
    assert len(old.notes) == 2
    assert new.notes == ()
    assert new.job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMaxMB"] == -1


# --- literal text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("${HOME}", "$${HOME}"),
        ("%{ if x }", "%%{ if x }"),
        ("$${x}", '${"$"}$${x}'),
        ("$5 {x}", "$5 {x}"),
    ],
)
def test_text_for_the_driver(text: str, escaped: str) -> None:
    assert literal.for_driver([{"a": text}]) == [{"a": escaped}]


@pytest.mark.parametrize(
    "keys",
    [
        {"env": {"A": "${HOME}"}},
        {"user": "${USER}"},
        {"labels": {"a": "${attr.kernel.name}"}},
        {"healthcheck": {"path": "/${NOMAD_JOB_NAME}"}},
    ],
)
def test_text_that_nomad_would_fill_in_is_refused(keys: Json) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(app(service(**keys), backend="nomad"))
    assert "fills in ${" in str(caught.value.details)


def test_numbered_groups_of_traefik_are_nobody_s_names() -> None:
    key = "traefik.http.middlewares.a.redirectregex.replacement"
    (found,) = task_of(labels={key: "https://${1}"})["Services"]
    assert f"{key}=https://${{1}}" in found["Tags"]


@pytest.mark.parametrize("text", ["a\u0301", "\u2126"])
def test_text_that_hcl_would_compose_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(app(service(env={"A": text}), backend="nomad"))
    assert "NFC" in str(caught.value.details)


@pytest.mark.parametrize("text", ['a # {{ env "x" }}', "it's", '"a" {{ env "x" }}'])
def test_signs_of_the_lines_that_make_variables_are_refused(text: str) -> None:
    one = service(env={"A": text}, templates=["env.A"])
    (problem,) = refused.problems(app(one, backend="nomad"))
    assert problem.path == "services.web.env.A"
    plain = service(env={"A": '{{ env "x" }}/y', "B": text}, templates=["env.A"])
    assert list(refused.problems(app(plain, backend="nomad"))) == []


def test_templates_of_the_swarm_are_refused() -> None:
    one = service(env={"A": "{{.Node.Hostname}}"}, templates=["env.A"])
    (problem,) = refused.problems(app(one, backend="nomad"))
    assert problem.path == "services.web.env.A"


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"hostname": "{{.Node.Hostname}}", "templates": ["hostname"]}, "hostname"),
        ({"logging": {"driver": "none"}}, "logging.driver"),
        ({"logging": {"options": {"tag": "e\u0301"}}}, "logging.options"),
        ({"tmpfs": {"/e\u0301": "1MiB"}}, "tmpfs"),
    ],
)
def test_keys_of_containers_that_are_refused(keys: Json, path: str) -> None:
    (problem,) = refused.problems(app(service(**keys), backend="nomad"))
    assert problem.path == f"services.web.{path}"


def test_a_name_that_nomad_fills_in_is_passed_on() -> None:
    given: Json = {"hostname": "web-${node.unique.name}", "templates": ["hostname"]}
    source = Source(app=app(service(**given), backend="nomad"))
    config = compile_app(source).job["TaskGroups"][0]["Tasks"][0]["Config"]
    assert config["hostname"] == "web-${node.unique.name}"


def test_all_that_is_refused_is_told_together() -> None:
    spec = app(service(networks=["a"], publish={"port": 80}), backend="nomad")
    with pytest.raises(ConfigError) as caught:
        compiled(spec)
    assert len(caught.value.problems) == 2


def test_paths_of_volumes_that_nomad_shall_fill_in() -> None:
    volume = "/srv/${NOMAD_ALLOC_INDEX}:/data"
    literally = task_of(volumes=[volume])["Config"]["mount"][0]
    assert literally["source"] == "/srv/$${NOMAD_ALLOC_INDEX}"
    filled_in = task_of(volumes=[volume], templates=["volumes"])["Config"]["mount"][0]
    assert filled_in["source"] == "/srv/${NOMAD_ALLOC_INDEX}"


# --- resources ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (300, None)),
        ({"memory": "100MiB"}, (100, None)),
        ({"memory_limit": "200MiB"}, (200, 200)),
        ({"memory": "1B", "memory_limit": "2B"}, (10, 10)),
        ({"memory": "100.5MiB", "memory_limit": "200.5MiB"}, (101, 201)),
    ],
)
def test_memory(keys: Json, expected: tuple[int, int | None]) -> None:
    assert task.memory(service(**keys)) == expected


@given(st.integers(1, 10**6))
def test_no_cores_are_no_megahertz(thousandths: int) -> None:
    assert task.mhz(service(cpu=min(1024, thousandths / 1000)), 2000) >= 1


def test_a_limit_that_is_the_reservation_is_hard() -> None:
    assert task_of(cpu=0.5, cpu_limit=0.5)["Config"]["cpu_hard_limit"] is True
    assert task_of(cpu=0.5)["Config"]["cpu_hard_limit"] is False


def test_canaries_are_what_an_update_needs_on_top() -> None:
    found = service(replicas=5, update={"order": "blue-green"})
    assert policies.canaries(found) == 5


def test_blue_green_is_for_nomad() -> None:
    with pytest.raises(ValueError, match="for Nomad"):
        app(service(update={"order": "blue-green"}))


def test_another_check_replaces_the_replicas_and_nothing_else_of_it_does() -> None:
    """A server would put a check on all that serve at once."""

    def meta(**check: object) -> Json:
        spec = app(service(healthcheck={"path": "/health"} | check))
        (one,) = compile_app(Source(spec)).job["TaskGroups"]
        return dict(one["Tasks"][0]["Meta"])

    assert meta() == meta()
    assert meta(path="/up") != meta() != meta(interval="7s")


def test_no_health_check_at_all() -> None:
    """Nomad looks at no check of the image; its engine need not run it either."""
    (task,) = compiled(app(worker(healthcheck=False)))["TaskGroups"][0]["Tasks"]
    assert task["Config"]["healthchecks"] == [{"disable": True}]
