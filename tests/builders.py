"""Apps, services, images and releases to test with: valid and whole, to change one thing of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from deploytool.backends.model import Task
from deploytool.backends.swarm.backend import Swarm
from deploytool.backends.swarm.proxy import app_spec as proxy_spec
from deploytool.rollout.limits import Limits
from deploytool.rollout.release import new_release
from deploytool.spec import AppSpec, Image, Logging, ProxySettings, Release, Service
from tests.fake_engine import FakeEngine

REGISTRY = "registry.example.com/team"
DIGEST = f"sha256:{'a' * 64}"
OTHER_DIGEST = f"sha256:{'b' * 64}"
NO_WAIT = Limits(poll=0.0)
AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def service(name: str = "web", **keys: Any) -> Service:
    """An HTTP service as `[tool.deploytool.services.NAME]` would describe it."""
    http: dict[str, Any] = {"port": 8000, "healthcheck": {"path": "/health"}}
    return Service.model_validate({"name": name, **http, **keys})


def worker(name: str = "worker", **keys: Any) -> Service:
    command = ["python", "-m", "app.worker"]
    return Service.model_validate({"name": name, "command": command, **keys})


def app(*services: Service, **keys: Any) -> AppSpec:
    """An app of these services; of one HTTP service when none is given."""
    chosen = services or (service(),)
    given: dict[str, Any] = {
        "name": "items",
        "image": f"{REGISTRY}/items",
        "entrypoint": "app.main:app",
        "files": digests(contents(*chosen)),
    }
    return AppSpec(services=chosen, **(given | keys))


def contents(*services: Service) -> dict[str, bytes]:
    """The configuration files of services, with something in each."""
    return {path: f"# {path}\n".encode() for s in services for path in s.files.values()}


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: sha256(content).hexdigest() for path, content in files.items()}


def image(tag: str = f"{REGISTRY}/items:1a2b3c4", *, digest: str = DIGEST, **keys: Any) -> Image:
    repository = tag.rpartition(":")[0]
    return Image(reference=f"{repository}@{digest}", tag=tag, **keys)


def images(spec: AppSpec, **keys: Any) -> dict[str, Image]:
    """An image for every service of an app."""
    return {
        s.name: image(s.image if s.image and ":" in s.image else f"{spec.image}:1a2b3c4", **keys)
        for s in spec.services
    }


def release(spec: AppSpec, number: int = 1, **keys: Any) -> Release:
    made = new_release(spec, images(spec), commit="1a2b3c4")
    return made.model_copy(update={"number": number, "by": "ada@laptop", "at": AT, **keys})


def task(task_id: str = "t1", slot: int = 1, state: str = "running", **keys: Any) -> Task:
    given = {"service": "web", "node": "node-1", "wanted": True, "release": "v2"}
    return Task(id=task_id, slot=slot, state=state, **(given | keys))


def maximal_service(name: str = "web", **keys: Any) -> Service:
    """A service in which every key is set, and to something else than its default."""
    return Service.model_validate(
        {
            "name": name,
            "replicas": 3,
            "port": 8000,
            "command": ["uvicorn", "app.main:app", "--header", "x-price:$5 ${HOME}"],
            "prestart": ["python", "-m", "app.warm up"],
            "env": {
                "LOG_LEVEL": "info",
                "PRICE": "$5",
                "API_TOKEN": "s3cr3t",
                "EMPTY": "",
                "COMMIT": "1e3",
                "GREETING": "{{ user }} {{{",
                "NODE": "{{.Node.Hostname}}",
            },
            "templates": ["env.NODE", "hostname"],
            "secrets": ["DATABASE_URL", "API_KEY"],
            "files": {"/code/web.yml": "config/web.yml", "/etc/$x.ini": "config/odd $name.ini"},
            "memory": "128MiB",
            "memory_limit": "256MiB",
            "cpu": 0.25,
            "cpu_limit": 1.5,
            "pids": 200,
            "tmp_size": "32MiB",
            "tmpfs": {"/dev/shm": "64MiB", "/run/{{app}}": "0B"},
            "ulimits": {"nofile": "1024:65536", "core": 0, "memlock": -1},
            "hostname": "shop-{{.Task.Slot}}",
            "extra_hosts": {"db.internal": "10.0.0.5", "self": "host-gateway", "six": "::1"},
            "domains": ["shop.example.com", "api.example.com"],
            "path_prefix": "/v1/",
            "publish": [
                {"port": 9443, "target": 8443, "mode": "ingress", "protocol": "udp"},
                {"port": 8080, "mode": "host"},
            ],
            "drain": "7s",
            "stop_grace": "45s",
            "volumes": ["data:/data", "/srv/{{files}}:/files:ro"],
            "read_only": True,
            "user": "1000:1000",
            "init": False,
            "capabilities": ["NET_BIND_SERVICE", "CAP_CHOWN"],
            "labels": {"traefik.http.routers.items_web.middlewares": "auth", "price": "$5"},
            "networks": ["backbone"],
            "healthcheck": {
                "path": "/health?deep=1",
                "interval": "7s",
                "timeout": "2500ms",
                "retries": 5,
                "start_period": "1m",
                "start_interval": "750ms",
            },
            "restart": {
                "condition": "on-failure",
                "delay": "2s",
                "max_attempts": 4,
                "window": "2m",
            },
            "update": {
                "parallelism": 2,
                "order": "stop-first",
                "delay": "3s",
                "monitor": "9s",
                "on_failure": "pause",
                "max_failure_ratio": 0.25,
            },
            "placement": {
                "constraints": ["node.labels.disk == ssd", "node.role != manager"],
                "spread": ["node.labels.zone"],
                "max_per_node": 2,
            },
            "logging": {"max_size": "5MiB", "max_files": 2},
            **keys,
        }
    )


def maximal_app() -> AppSpec:
    """An app in which every key is set, with a worker and a service of a ready image beside."""
    return app(
        maximal_service(depends_on=["worker", "cache"]),
        worker(healthcheck={"command": ["python", "-c", "print('$HOME')"]}, replicas=0),
        Service(
            name="cache",
            image="redis:8",
            command=(),
            read_only=False,
            logging=Logging(
                driver="fluentd", options={"tag": "$5 {{.Name}}", "fluentd-async": "true"}
            ),
        ),
        environment="production",
        release={"command": ["python", "-m", "app.migrate"], "timeout": "5m", "service": "web"},
        proxy={
            "network": "public",
            "subnet": "10.200.0.0/16",
            "http_port": 8081,
            "email": "ops@example.com",
            "https_port": 8444,
            "hsts": "365d",
        },
    )


def proxy(settings: ProxySettings | None = None) -> AppSpec:
    return proxy_spec(settings or ProxySettings())


def engine(spec: AppSpec | None = None, **keys: Any) -> FakeEngine:
    """A cluster that has what an app needs: the proxy and its network, networks and secrets."""
    made = FakeEngine(**keys)
    settings = spec.proxy if spec else ProxySettings()
    made.add_network(settings.network, subnet=settings.subnet)
    for name in sorted({n for s in (spec.services if spec else ()) for n in s.networks}):
        made.add_network(name)
    for name in sorted({n for s in (spec.services if spec else ()) for n in s.secrets}):
        made.add_secret(f"{spec.name if spec else ''}_{name}")
    return made


def with_proxy(made: FakeEngine, settings: ProxySettings | None = None) -> FakeEngine:
    """The cluster with Traefik on it."""
    deploy(made, proxy_spec(settings or ProxySettings()))
    return made


def deploy(
    made: FakeEngine, spec: AppSpec, chosen: Mapping[str, Image] | None = None, number: int = 1
) -> Release:
    """Bring an app onto a fake cluster, as a deploy does."""
    swarm = Swarm(made)
    found = chosen or images(spec)
    done = release(spec, number, images=dict(found))
    swarm.rollout(swarm.plan(spec, found, files=contents(*spec.services))).start(done)
    return done
