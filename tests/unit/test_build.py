"""Building and pushing, with transcripts of real builders in place of docker.

What real engines do is in tests/live/test_image.py.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from deploytool.config import BuildSettings
from deploytool.errors import (
    DeploytoolError,
    EngineError,
    ImageError,
    RegistryError,
    UsageError,
)
from deploytool.image import build as build_module
from deploytool.image.build import BuiltImage, Source, build, move_latest, owned_volumes, push
from deploytool.image.content import Content
from deploytool.process import Finished, ProgramMissing
from tests.builders import service, worker

DIGEST = "sha256:" + "9b54dddf" * 8
IMAGE_ID = "sha256:" + "5143a514" * 8
REVISION = "00c756f1314e5b3ac7d81a97b594e50735cce793"
REPOSITORY = "10.90.5.1:5000/items"
TAG = "tree-0123456789ab"
SOURCE = Source(revision=REVISION, dirty=False, tag=TAG)

SUCCESS = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 113B done
#1 DONE 0.0s

#2 [internal] load metadata for docker.io/library/python:3.13-slim
#2 DONE 0.0s

#3 [internal] load .dockerignore
#3 transferring context: 2B done
#3 DONE 0.1s

#4 [1/3] FROM docker.io/library/python:3.13-slim
#4 CACHED

#5 [internal] load build context
#5 transferring context: 34B done
#5 DONE 0.1s

#6 [2/3] RUN echo hello; sleep 1; echo world
#6 0.341 hello
#6 ...

#7 [3/3] COPY a.txt /a.txt
#7 DONE 0.0s

#6 [2/3] RUN echo hello; sleep 1; echo world
#6 1.346 world
#6 DONE 1.4s

#8 exporting to image
#8 exporting layers 0.0s done
#8 writing image sha256:5143a5148ab6edc6df32d3986bf2894203eeed30a547364f38937ab77d47bc5f done
#8 DONE 0.1s

#9 resolving provenance for metadata file
#9 DONE 0.0s

#10 pushing 10.90.5.1:5000/items:1 with docker
#10 pushing layer e845f5ff8794 2.05kB / 2B 0.1s
#10 pushing layer f021bd74600a 8.14MB / 128.63MB 0.6s
#10 pushing layer f021bd74600a 5.1s done
#10 DONE 5.3s
"""
TIDY = """\
load metadata for docker.io/library/python:3.13-slim
[1/3] FROM docker.io/library/python:3.13-slim
  cached
load build context
[2/3] RUN echo hello; sleep 1; echo world
  hello
[3/3] COPY a.txt /a.txt
[2/3] RUN echo hello; sleep 1; echo world
  world
exporting to image
pushing 10.90.5.1:5000/items:1 with docker
  pushing layer f021bd74600a 8.14MB / 128.63MB 0.6s
"""
NO_BUILDX = """\
unknown flag: --progress
See 'docker --help'.

Usage:  docker [OPTIONS] COMMAND
"""


def ignore(_: str) -> None:
    pass


class Docker:
    """Stands in for the docker command: remembers calls and plays what it was told to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.streams: list[tuple[str, int]] = []
        self.answers: dict[str, Finished] = {}
        self.metadata: dict[str, str] = {
            "containerimage.digest": DIGEST,
            "containerimage.config.digest": IMAGE_ID,
        }
        self.installed = True

    def stream(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        *,
        env: Mapping[str, str],
    ) -> int:
        self._called(command, env)
        transcript, code = self.streams.pop(0)
        for line in transcript.splitlines():
            on_line(line)
        if code == 0:
            self._write_files(command)
        return code

    def capture(self, command: Sequence[str], *, env: Mapping[str, str]) -> Finished:
        self._called(command, env)
        return self.answers.get(" ".join(command[1:3]), Finished(0, "", ""))

    def _called(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        if not self.installed:
            raise ProgramMissing(command[0])
        self.calls.append(list(command))
        self.environments.append(env)

    def _write_files(self, command: Sequence[str]) -> None:
        for argument in command:
            flag, _, path = argument.partition("=")
            if flag == "--metadata-file":
                Path(path).write_text(json.dumps(self.metadata))
            elif flag == "--iidfile":
                Path(path).write_text(IMAGE_ID)

    def without_buildx(self, version: str) -> None:
        self.streams.append((NO_BUILDX, 125))
        self.answers["buildx version"] = Finished(1, "", "'buildx' is not a docker command.")
        self.answers["--version"] = Finished(0, f"Docker version {version}, build 1\n", "")


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    docker = Docker()
    monkeypatch.setattr(build_module, "stream", docker.stream)
    monkeypatch.setattr(build_module, "capture", docker.capture)
    return docker


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    return tmp_path


class Run:
    """Calls `build` and keeps what it told on the way."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def __call__(
        self,
        settings: BuildSettings | None = None,
        *,
        push: bool = True,
        source: Source = SOURCE,
        volumes: Sequence[str] = (),
        repository: str = REPOSITORY,
    ) -> BuiltImage:
        return build(
            self.project,
            settings or BuildSettings(),
            repository,
            source=source,
            volumes=volumes,
            push=push,
            progress=self.lines.append,
            warn=self.warnings.append,
        )


@pytest.fixture
def run(project: Path) -> Run:
    return Run(project)


def failure(run: Run, docker: Docker, transcript: str) -> DeploytoolError:
    docker.streams.append((transcript, 1))
    with pytest.raises(DeploytoolError) as raised:
        run()
    return raised.value


# --- what is asked of docker


def test_one_call_builds_and_pushes(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    assert run() == BuiltImage(REPOSITORY, TAG, DIGEST, IMAGE_ID)
    (command,) = docker.calls
    assert command[:4] == ["docker", "buildx", "build", "--progress=plain"]
    assert command[5:] == [
        "--push",
        f"--file={run.project}/Dockerfile",
        f"--tag={REPOSITORY}:{TAG}",
        str(run.project),
    ]
    assert docker.environments[0] == {
        "DOCKER_CLI_HINTS": "false",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        "BUILDX_GIT_INFO": "false",
    }
    assert run.warnings == []


def test_without_push_there_is_no_digest(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    built = run(push=False)
    assert "--load" in docker.calls[0]
    assert "--push" not in docker.calls[0]
    assert f"--tag={REPOSITORY}:latest" in docker.calls[0]
    assert built.digest is None
    assert built.reference == f"{REPOSITORY}:{TAG}"
    with pytest.raises(ValueError, match="was not pushed"):
        _ = built.pinned


def test_settings_reach_the_builder(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    (run.project / "deploy").mkdir()
    (run.project / "deploy" / "prod.Dockerfile").write_text("FROM scratch\n")
    platforms = ("linux/amd64", "linux/arm64")
    run(
        BuildSettings(
            dockerfile="deploy/prod.Dockerfile", context="deploy", platforms=platforms, target="web"
        )
    )
    command = docker.calls[0]
    assert f"--file={run.project}/deploy/prod.Dockerfile" in command
    assert "--target=web" in command
    assert "--platform=linux/amd64,linux/arm64" in command
    assert command[-1] == f"{run.project}/deploy"


def test_changes_that_are_in_no_commit_are_told(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    source = Source(REVISION, True, TAG)
    assert run(source=source).tag == TAG
    assert run.warnings == [f"The image {TAG} has changes that are in no commit"]
    assert source.commit == f"{REVISION}-dirty"


def test_the_commit_is_not_in_the_image(run: Run, docker: Docker) -> None:
    """Else a commit that changes nothing in the image would replace every replica."""
    docker.streams += [(SUCCESS, 0), (SUCCESS, 0)]
    run(source=Source(REVISION, False, TAG))
    (run.project / "pyproject.toml").write_text('[project]\nversion = "1.2.4"\n')
    run(source=Source("1" * 40, True, TAG))
    first, second = ([a for a in c if "metadata" not in a] for c in docker.calls)
    assert first == second


def test_values_of_build_arguments_are_not_on_the_command_line(
    run: Run, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "another")
    docker.streams.append((SUCCESS + "#11 [4/4] RUN echo hunter22 and more\n", 0))
    args = {
        "API_TOKEN": "hunter22",
        "INDEX": "https://ada:s3cret@pypi.example/simple",
        "HOME": "/app",
        "HTTP_PROXY": "http://proxy:3128",
        "DOCKER_HOST": "elsewhere",
        "DOCKER_TOKEN": "t0ken-of-hub",
        "HTTPS_PROXY": "http://ada:s3cret@proxy:3128",
    }
    run(BuildSettings(args=args))
    given = [a.removeprefix("--build-arg=") for a in docker.calls[0] if "--build-arg" in a]
    assert given == [
        "API_TOKEN",
        "DOCKER_HOST=elsewhere",
        "DOCKER_TOKEN",
        "HOME=/app",
        "HTTPS_PROXY=http://ada:s3cret@proxy:3128",
        "HTTP_PROXY=http://proxy:3128",
        "INDEX",
    ]
    environment = docker.environments[0]
    assert environment["API_TOKEN"] == "hunter22"
    assert environment["INDEX"] == args["INDEX"]
    assert environment["DOCKER_TOKEN"] == "t0ken-of-hub"
    assert not {"HOME", "HTTP_PROXY", "HTTPS_PROXY", "DOCKER_HOST"} & environment.keys()
    assert run.lines[-1] == "[4/4] RUN echo •••••• and more"
    told = "\n".join(run.warnings)
    named = ["API_TOKEN", "DOCKER_TOKEN", "HTTPS_PROXY", "INDEX"]
    assert re.findall(r"^build\.args\.(\w+) looks like a secret", told, re.M) == named
    assert "make it build.secrets.API_TOKEN" in run.warnings[0]
    assert "proxies in ~/.docker/config.json" in run.warnings[2]
    assert not re.search("hunter22|s3cret|t0ken", told)


# --- secrets of the build


def with_secrets(**secrets: dict[str, str]) -> BuildSettings:
    return BuildSettings.model_validate({"secrets": secrets})


def test_docker_is_told_where_secrets_are_and_not_what(
    run: Run, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "hunter22")
    (run.project / 'a "b",c').write_text("machine example.com\npassword 0123456\n")
    docker.streams.append((SUCCESS + "#11 [4/4] RUN echo hunter22 and password 0123456\n", 0))
    run(with_secrets(token={"env": "INDEX_TOKEN"}, netrc={"file": 'a "b",c'}))
    given = [a for a in docker.calls[0] if a.startswith("--secret=")]
    assert given == [
        f'--secret=id=netrc,"src={run.project}/a ""b"",c"',
        "--secret=id=token,env=INDEX_TOKEN",
    ]
    assert "hunter22" not in str(docker.calls)
    assert run.lines[-1] == "[4/4] RUN echo •••••• and ••••••"


def test_another_secret_is_no_other_image(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_secrets(token={"env": "INDEX_TOKEN"})
    tags = set()
    for value in ("1", "2"):
        monkeypatch.setenv("INDEX_TOKEN", value)
        tags.add(Content(project, settings).tag)
    assert tags == {Content(project, BuildSettings()).tag}


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ({"env": "INDEX_TOKEN"}, "the variable INDEX_TOKEN is not set"),
        ({"file": "no-such"}, "no-such cannot be read: No such file or directory"),
        ({"file": "../elsewhere"}, "cannot be read: it leads out of the project"),
    ],
)
def test_a_secret_that_is_not_there(
    run: Run, docker: Docker, monkeypatch: pytest.MonkeyPatch, secret: dict[str, str], words: str
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "")
    (run.project.parent / "elsewhere").write_text("x")
    with pytest.raises(ImageError, match=words) as caught:
        run(with_secrets(token=secret))
    assert caught.value.code == "build_secret_missing"
    assert not docker.calls


def test_secrets_need_buildkit(run: Run, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "hunter22")
    docker.without_buildx("26.1.5")
    with pytest.raises(DeploytoolError, match=r"build\.secrets requires BuildKit") as caught:
        run(with_secrets(token={"env": "INDEX_TOKEN"}))
    assert caught.value.code == "buildx_missing"


@pytest.mark.parametrize("secret", [{}, {"env": "A", "file": "b"}])
def test_a_secret_has_one_source(secret: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has one of `env`"):
        with_secrets(token=secret)


DECLARES_VOLUMES = "FROM scratch AS base\nARG VOLUMES\nRUN install -d /code $VOLUMES\n"


@pytest.mark.parametrize(
    ("dockerfile", "args", "given"),
    [
        (DECLARES_VOLUMES, {}, ["VOLUMES=/code/uploads /data"]),
        (f"{DECLARES_VOLUMES}FROM base\n", {}, ["VOLUMES=/code/uploads /data"]),
        ("FROM scratch\nARG VOLUMES=/data\n", {}, ["VOLUMES=/code/uploads /data"]),
        ("FROM scratch\n", {}, []),
        ("ARG VOLUMES\nFROM scratch\n", {}, []),
        ("FROM scratch\nENV VOLUMES=/data\n", {}, []),
        (DECLARES_VOLUMES, {"VOLUMES": "/mine"}, ["VOLUMES"]),
    ],
)
def test_folders_of_volumes_reach_a_dockerfile_that_declares_them(
    run: Run, docker: Docker, dockerfile: str, args: dict[str, str], given: list[str]
) -> None:
    docker.streams.append((SUCCESS, 0))
    (run.project / "Dockerfile").write_text(dockerfile)
    run(BuildSettings(args=args), volumes=("/code/uploads", "/data", "/my data", "/x/*"))
    flags = [a.removeprefix("--build-arg=") for a in docker.calls[0] if "--build-arg" in a]
    assert flags == given


def test_without_volumes_no_argument_is_passed(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    (run.project / "Dockerfile").write_text(DECLARES_VOLUMES)
    run()
    assert not [a for a in docker.calls[0] if "--build-arg" in a]


def test_only_named_volumes_that_the_own_image_writes_to_are_owned() -> None:
    services = (
        service(volumes=["data:/data", "up:/code/uploads", "seed:/seed:ro", "/srv/x:/x"]),
        worker(volumes=["data:/data", "odd:/with blank"]),
        service("redis", image="redis:8", volumes=["redis:/redis"]),
    )
    assert owned_volumes(services) == ("/code/uploads", "/data")


def test_progress_is_tidy(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    run()
    assert "\n".join(run.lines) + "\n" == TIDY


def test_an_old_buildx_that_tells_no_digest(run: Run, docker: Docker) -> None:
    docker.streams.append((SUCCESS, 0))
    docker.metadata = {}
    known = {"Id": IMAGE_ID, "RepoDigests": [f"other/items@{IMAGE_ID}", f"{REPOSITORY}@{DIGEST}"]}
    docker.answers["image inspect"] = Finished(0, json.dumps(known), "")
    assert run() == BuiltImage(REPOSITORY, TAG, DIGEST, IMAGE_ID)


def test_references() -> None:
    image = BuiltImage(REPOSITORY, TAG, DIGEST, IMAGE_ID)
    assert image.reference == f"{REPOSITORY}:{TAG}@{DIGEST}"
    assert image.pinned == f"{REPOSITORY}@{DIGEST}"


# --- without buildx


LEGACY_SUCCESS = """\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            Install the buildx component to build images with BuildKit:
            https://docs.docker.com/go/buildx/

Sending build context to Docker daemon  3.072kB
Step 1/2 : FROM python:3.13-slim
 ---> 046af4cea857
Step 2/2 : RUN echo hello
 ---> Using cache
 ---> 616a4611095e
Successfully built 616a4611095e
Successfully tagged 10.90.5.1:5000/items:latest
"""
PUSHED = f"""\
The push refers to repository [10.90.5.1:5000/items]
0c4435698818: Preparing
f021bd74600a: Preparing
0c4435698818: Pushed
f021bd74600a: Layer already exists
1: digest: {DIGEST} size: 941
"""


def test_the_legacy_builder_where_buildx_is_missing(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2+dfsg4")
    docker.streams += [(LEGACY_SUCCESS, 0), (PUSHED, 0)]
    assert run() == BuiltImage(REPOSITORY, TAG, DIGEST, IMAGE_ID)
    built, *pushes = (call for call in docker.calls if call[1] in ("build", "push"))
    assert built[:2] == ["docker", "build"]
    assert pushes == [["docker", "push", f"{REPOSITORY}:{TAG}"]]
    assert docker.environments[docker.calls.index(built)]["DOCKER_BUILDKIT"] == "0"
    assert run.lines == [
        "[1/2] FROM python:3.13-slim",
        "[2/2] RUN echo hello",
        "  cached",
        f"pushing {REPOSITORY}:{TAG}",
        "  layer 0c4435698818 pushed",
    ]
    (warning,) = run.warnings
    assert warning.startswith("docker buildx is missing, docker's legacy builder builds the image")


def test_old_docker_commands_have_a_buildkit_of_their_own(run: Run, docker: Docker) -> None:
    docker.without_buildx("20.10.24+dfsg1")
    docker.streams.append((SUCCESS, 0))
    assert run(push=False).image_id == IMAGE_ID
    assert docker.environments[-1]["DOCKER_BUILDKIT"] == "1"
    assert "--progress=plain" in docker.calls[-1]
    assert "[2/3] RUN echo hello; sleep 1; echo world" in run.lines
    assert "docker's own older BuildKit" in run.warnings[0]


def test_the_legacy_builder_has_one_platform(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2")
    with pytest.raises(ImageError, match="for several platforms") as raised:
        run(BuildSettings(platforms=("linux/amd64", "linux/arm64")))
    assert raised.value.code == "platforms_unsupported"


def test_a_dockerfile_that_needs_buildkit(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2")
    error = failure(
        run,
        docker,
        "Step 2/2 : RUN --mount=type=cache,target=/c echo hi\n"
        "the --mount option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ "
        "to learn how to build images with BuildKit enabled",
    )
    assert error.code == "buildx_missing"
    assert "docker-buildx-plugin" in error.hint


def test_a_failing_step_of_the_legacy_builder(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2")
    printed = "".join(f"line {number}\n" for number in range(30))
    error = failure(
        run,
        docker,
        "Step 2/2 : RUN make\n ---> Running in 1ba6a83bbac8\n"
        + printed
        + "The command '/bin/sh -c make' returned a non-zero code: 3",
    )
    assert error.code == "build_failed"
    assert error.message == "The build failed at [2/2] RUN make: exit code 3"
    assert list(error.details) == [f"line {number}" for number in range(10, 30)]


# --- push


def test_push_takes_what_was_built(docker: Docker) -> None:
    docker.answers["image inspect"] = Finished(0, json.dumps({"Id": IMAGE_ID}), "")
    docker.streams += [(PUSHED, 0)]
    lines: list[str] = []
    pushed = push(REPOSITORY, SOURCE, progress=lines.append, warn=lines.append)
    assert pushed == BuiltImage(REPOSITORY, TAG, DIGEST, IMAGE_ID)
    assert not [call for call in docker.calls if f"{REPOSITORY}:latest" in call]


@pytest.mark.parametrize(
    "said",
    [
        "Error response from daemon: No such image: 10.90.5.1:5000/items:00c756f1314e\n",
        "Error: No such image: 10.90.5.1:5000/items:00c756f1314e\n",
    ],
)
def test_push_of_what_was_not_built(docker: Docker, said: str) -> None:
    docker.answers["image inspect"] = Finished(1, "[]\n", said)
    with pytest.raises(ImageError, match="was not built on this engine") as raised:
        push(REPOSITORY, SOURCE, progress=ignore, warn=ignore)
    assert raised.value.code == "image_missing"
    assert "deploytool build" in raised.value.hint


def test_push_without_an_engine(docker: Docker) -> None:
    said = (
        "Cannot connect to the Docker daemon at unix:///tmp/x.sock. Is the docker daemon running?"
    )
    docker.answers["image inspect"] = Finished(1, "[]\n", said)
    with pytest.raises(EngineError) as raised:
        push(REPOSITORY, SOURCE, progress=ignore, warn=ignore)
    assert raised.value.code == "engine_unreachable"


# --- the tag `latest`


PINNED = f"{REPOSITORY}@{DIGEST}"
MOVED = [
    ["docker", "tag", PINNED, f"{REPOSITORY}:latest"],
    ["docker", "push", f"{REPOSITORY}:latest"],
]
GONE = Finished(1, "[]\n", f"Error: No such image: {PINNED}\n")
NO_TLS = Finished(1, "", "ERROR: http: server gave HTTP response to HTTPS client\n")


def test_latest_is_pushed_where_the_engine_has_the_image(docker: Docker) -> None:
    docker.streams.append((PUSHED, 0))
    move_latest(PINNED, several_platforms=False, progress=ignore)
    assert docker.calls[1:] == MOVED


def test_latest_is_copied_by_the_registry_where_the_engine_has_no_image(docker: Docker) -> None:
    docker.answers["image inspect"] = GONE
    move_latest(PINNED, several_platforms=True, progress=ignore)
    (_, copied) = docker.calls
    assert copied[1:4] == ["buildx", "imagetools", "create"]
    assert copied[-2:] == [f"--tag={REPOSITORY}:latest", PINNED]


def test_latest_is_pulled_where_nothing_else_works(docker: Docker) -> None:
    docker.answers |= {"image inspect": GONE, "buildx imagetools": NO_TLS}
    docker.streams.append((PUSHED, 0))
    move_latest(PINNED, several_platforms=False, progress=ignore)
    assert docker.calls[2:] == [["docker", "pull", "--quiet", PINNED], *MOVED]


def test_latest_never_loses_platforms(docker: Docker) -> None:
    """A pull brings one of them, and a push would make that all there is."""
    docker.answers |= {"image inspect": GONE, "buildx imagetools": NO_TLS}
    with pytest.raises(DeploytoolError, match="HTTP response"):
        move_latest(PINNED, several_platforms=True, progress=ignore)
    assert len(docker.calls) == 2


# --- what can go wrong


def pushing(cause: str, prefix: str = "ERROR: failed to build: ") -> str:
    """How buildx with the engine's own driver ends when the registry does not take an image."""
    return (
        f"#10 pushing 10.90.5.1:5000/items:1 with docker\n#10 ERROR: {cause}\n------\n"
        f" > pushing 10.90.5.1:5000/items:1 with docker:\n------\n{prefix}{cause}\n"
    )


REFUSALS = [
    ("no basic auth credentials", "registry_denied", "asks for a login, and there is none"),
    ("unauthorized: authentication required", "registry_denied", "does not accept your login"),
    ("denied: requested access to the resource is denied", "registry_denied", "does not let you"),
    ("denied: <html>Forbidden by proxy</html>", "registry_denied", "does not let you push"),
    (
        "error parsing HTTP 403 response body: invalid character '<' looking for beginning of "
        'value: "<html>Forbidden by proxy</html>"',
        "registry_denied",
        "does not let you push",
    ),
    (
        "name unknown: The repository with name 'x' does not exist in the registry",
        "registry_denied",
        "has no repository for 10.90.5.1:5000/items",
    ),
    (
        'Get "http://10.90.5.1:5000/v2/": dial tcp 10.90.5.1:5000: connect: connection refused',
        "registry_unreachable",
        "cannot be reached from the engine",
    ),
    (
        'Get "https://registry.nosuch.example/v2/": dial tcp: lookup registry.nosuch.example on '
        "10.255.255.53:53: no such host",
        "registry_unreachable",
        "cannot be reached from the engine",
    ),
    ("received unexpected HTTP status: 503 Service Unavailable", "registry_unavailable", "order"),
    ('Get "https://registry.example/v2/": EOF', "registry_unreachable", "cannot be reached"),
    (
        'Get "https://198.18.5.1:5004/v2/": http: server gave HTTP response to HTTPS client',
        "registry_untrusted",
        "speaks HTTP",
    ),
    (
        'Get "https://198.18.5.1:5003/v2/": tls: failed to verify certificate: x509: certificate '
        "signed by unknown authority",
        "registry_untrusted",
        "does not trust the certificate",
    ),
    (
        'Get "https://198.18.5.1:5003/v2/": x509: certificate signed by unknown authority',
        "registry_untrusted",
        "does not trust the certificate",
    ),
    (
        'error getting credentials - err: exec: "docker-credential-nosuchhelper": executable file '
        "not found in $PATH, out: ``",
        "registry_credentials",
        "credential helper failed",
    ),
    ("unknown: Method not allowed", "registry_failed", "did not accept"),
    ("received unexpected HTTP status: 500 Internal Server Error", "registry_unavailable", "order"),
    ("toomanyrequests: slow down", "registry_limited", "asked too often"),
]


@pytest.mark.parametrize(("cause", "code", "message"), REFUSALS)
@pytest.mark.parametrize("prefix", ["ERROR: failed to build: ", "ERROR: "])
def test_refused_by_the_registry(
    run: Run, docker: Docker, cause: str, code: str, message: str, prefix: str
) -> None:
    error = failure(run, docker, pushing(cause, prefix))
    assert isinstance(error, RegistryError)
    assert error.code == code
    assert message in error.message
    assert error.message.endswith(cause)
    assert error.hint


@pytest.mark.parametrize(("cause", "code", "message"), REFUSALS)
def test_refused_by_the_registry_without_buildx(
    docker: Docker, cause: str, code: str, message: str
) -> None:
    docker.answers["image inspect"] = Finished(0, json.dumps({"Id": IMAGE_ID}), "")
    heading = "The push refers to repository [10.90.5.1:5000/items]\ne845f5ff8794: Preparing\n"
    docker.streams.append((f"{heading}{cause}\n\n", 1))
    with pytest.raises(RegistryError, match=re.escape(message)) as raised:
        push(REPOSITORY, SOURCE, progress=ignore, warn=ignore)
    assert raised.value.code == code


def test_a_login_is_for_the_registry_in_question(run: Run, docker: Docker) -> None:
    error = failure(run, docker, pushing("no basic auth credentials"))
    assert error.hint == "`docker login 10.90.5.1:5000`, then run this again"


ENGINES = [
    (
        "ERROR: Cannot connect to the Docker daemon at unix:///tmp/no.sock. "
        "Is the docker daemon running?",
        "engine_unreachable",
        "The Docker engine at unix:///tmp/no.sock does not answer",
    ),
    (
        "failed to dial gRPC: cannot connect to the Docker daemon. Is 'docker daemon' running on "
        "this host?: dial unix /tmp/no.sock: connect: no such file or directory",
        "engine_unreachable",
        "The Docker engine at unix:///tmp/no.sock does not answer",
    ),
    (
        'ERROR: error during connect: Head "http://docker.example.com/_ping": command [ssh -l '
        "nobody -o ConnectTimeout=30 -T -- 127.0.0.1 docker system dial-stdio] has exited with "
        "exit status 255, make sure the URL is valid, and Docker 18.09 or later is installed on "
        "the remote host: stderr=ssh: connect to host 127.0.0.1 port 22: Connection refused\n",
        "engine_unreachable",
        "does not answer",
    ),
    (
        "ERROR: failed to connect to the docker API at unix:///var/run/docker.sock; check if the "
        "path is correct and if the daemon is running: dial unix /var/run/docker.sock: connect: "
        "no such file or directory",
        "engine_unreachable",
        "The Docker engine at unix:///var/run/docker.sock does not answer",
    ),
    (
        "ERROR: permission denied while trying to connect to the Docker daemon socket at "
        'unix:///run/docker.sock: Head "http://%2Frun%2Fdocker.sock/_ping": dial unix '
        "/run/docker.sock: connect: permission denied",
        "engine_permission",
        "You are not allowed to use the Docker engine at unix:///run/docker.sock",
    ),
    (
        "failed to dial gRPC: cannot connect to the Docker daemon. Is 'docker daemon' running on "
        "this host?: dial unix /run/docker.sock: connect: permission denied",
        "engine_permission",
        "You are not allowed to use the Docker engine at unix:///run/docker.sock",
    ),
    (
        "ERROR: failed to build: failed to receive status: rpc error: code = Unavailable desc = "
        "error reading from server: EOF",
        "engine_unreachable",
        "does not answer",
    ),
    (
        "cannot write /tmp/x/id because server did not provide an image ID",
        "engine_unreachable",
        "does not answer",
    ),
    ("unexpected EOF", "engine_unreachable", "does not answer"),
    (
        "ERROR: mkdir /home/ada/.docker/buildx: permission denied",
        "docker_config_unwritable",
        "permission denied on /home/ada/.docker/buildx",
    ),
]


@pytest.mark.parametrize(("text", "code", "message"), ENGINES)
def test_engines(run: Run, docker: Docker, text: str, code: str, message: str) -> None:
    error = failure(run, docker, text)
    assert isinstance(error, EngineError)
    assert error.code == code
    assert message in error.message
    assert "\n" not in error.message
    assert len(docker.calls) == 1


def test_no_docker_command(run: Run, docker: Docker) -> None:
    docker.installed = False
    with pytest.raises(EngineError, match="no docker command") as raised:
        run()
    assert raised.value.code == "docker_missing"


def test_no_dockerfile(run: Run, docker: Docker) -> None:
    (run.project / "Dockerfile").unlink()
    with pytest.raises(ImageError, match="There is no Dockerfile in") as raised:
        run()
    assert raised.value.code == "dockerfile_missing"
    assert "deploytool init" in raised.value.hint
    assert docker.calls == []


def test_no_context(run: Run, docker: Docker) -> None:
    with pytest.raises(ImageError) as raised:
        run(BuildSettings(context="nowhere"))
    assert raised.value.code == "context_missing"
    assert docker.calls == []


def test_no_repository(run: Run, docker: Docker) -> None:
    with pytest.raises(UsageError, match="is not the name of an image"):
        run(repository="10.90.5.1:5000/Items")
    assert docker.calls == []


STEPS = "#4 [1/2] FROM docker.io/library/python:3.13-slim\n#4 CACHED\n\n"
EXCERPT = """\
Dockerfile:2
--------------------
   1 |     FROM python:3.13-slim
   2 | >>> RUN make
   3 |
--------------------
"""


def failing_step(printed: Sequence[str], exit_code: int) -> str:
    error = f'process "/bin/sh -c make" did not complete successfully: exit code: {exit_code}'
    lines = "".join(f"#5 0.221 {line}\n" for line in printed)
    tail = "".join(f"0.221 {line}\n" for line in printed[-10:])
    return (
        f"{STEPS}#5 [2/2] RUN make\n{lines}#5 ERROR: {error}\n------\n > [2/2] RUN make:\n{tail}"
        f"------\n{EXCERPT}ERROR: failed to build: failed to solve: {error}\n"
    )


def test_a_failing_step_is_shown_with_its_last_lines(run: Run, docker: Docker) -> None:
    printed = [f"line {number}" for number in range(30)]
    error = failure(run, docker, failing_step(printed, 3))
    assert error.code == "build_failed"
    assert error.message == "The build failed at [2/2] RUN make (Dockerfile:2): exit code 3"
    assert list(error.details) == printed[-20:]


def test_a_silent_step_is_shown_in_the_dockerfile(run: Run, docker: Docker) -> None:
    error = failure(run, docker, failing_step([], 1))
    assert list(error.details) == EXCERPT.replace("-" * 20 + "\n", "").splitlines()


def test_a_killed_step_may_have_had_too_little_memory(run: Run, docker: Docker) -> None:
    assert "lack of memory" in failure(run, docker, failing_step([], 137)).hint


def test_a_step_for_another_processor(run: Run, docker: Docker) -> None:
    printed = ["exec /bin/sh: exec format error"]
    assert "another kind of processor" in failure(run, docker, failing_step(printed, 255)).hint


@pytest.mark.parametrize(
    ("printed", "hint"),
    [
        (['The option "--no-dev" does not exist'], "current Poetry has no --no-dev: "),
        (["", "The requested command export does not exist."], "has no `poetry export`: "),
        (["E: The repository 'x buster Release' does not have a Release file."], "base image"),
        (["curl https://raw.x/python-poetry/poetry/master/get-poetry.py: 404"], "installer"),
        (["make: *** [all] Error 3"], "--verbose shows all that the build printed; "),
    ],
)
def test_a_dockerfile_that_was_there_may_no_longer_build(
    run: Run, docker: Docker, printed: list[str], hint: str
) -> None:
    told = failure(run, docker, failing_step(printed, 3)).hint
    assert hint in told
    assert told.endswith("`deploytool init --force` writes a Dockerfile that may build")
    written = "# Written by `deploytool init`; yours to edit.\nFROM python:3.13\nRUN make\n"
    for text in (written, f"# syntax=docker/dockerfile:1\n{written}"):
        (run.project / "Dockerfile").write_text(text)
        told = failure(run, docker, failing_step(printed, 3)).hint
        assert told == "--verbose shows all that the build printed"


def test_a_failing_step_of_old_buildkit(run: Run, docker: Docker) -> None:
    error = failure(
        run,
        docker,
        "#5 [2/2] RUN make\n"
        "#5 sha256:1b54c497f6833d97edd8bbf090237f9343a40ddf5ea28896ace926a55e3dc2d3\n"
        "#5 0.239 line 1\n"
        "#5 ERROR: executor failed running [/bin/sh -c make]: exit code: 3\n------\n"
        " > [2/2] RUN make:\n------\nexecutor failed running [/bin/sh -c make]: exit code: 3\n",
    )
    assert error.message == "The build failed at [2/2] RUN make: exit code 3"
    assert error.details == ("line 1",)


DISKS = [
    failing_step(["dd: error writing '/big': No space left on device"], 1),
    "#5 [internal] load build context\n#5 transferring context: 99.04MB 1.0s done\n"
    "#5 ERROR: write /var/lib/docker/overlay2/x/diff/big: no space left on device\n------\n"
    " > [internal] load build context:\n------\nERROR: failed to build: failed to solve: "
    "ResourceExhausted: write /var/lib/docker/overlay2/x/diff/big: no space left on device\n",
    "Error response from daemon: write /Dockerfile: no space left on device\n",
]


@pytest.mark.parametrize("transcript", DISKS)
def test_a_full_disk(run: Run, docker: Docker, transcript: str) -> None:
    error = failure(run, docker, transcript)
    assert error.code == "disk_full"
    assert "docker builder prune" in error.hint


BASES = [
    (
        "10.90.5.1:5000/nosuch:1",
        "10.90.5.1:5000/nosuch:1: not found",
        "failed to resolve source metadata for 10.90.5.1:5000/nosuch:1: ",
        "check its name and tag",
    ),
    (
        "docker.io/library/python:3.13-slim",
        "pull access denied, repository does not exist or may require authorization: "
        "server message: insufficient_scope: authorization failed",
        "failed to resolve source metadata for docker.io/library/python:3.13-slim: ",
        "if it is private, log in",
    ),
    (
        "docker.io/library/python:3.13-slim",
        'failed to do request: Head "https://registry-1.docker.io/v2/library/python/manifests/'
        '3.13-slim": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: no such host',
        "failed to resolve source metadata for docker.io/library/python:3.13-slim: ",
        "try `docker pull python:3.13-slim`",
    ),
]


@pytest.mark.parametrize(("base", "cause", "prefix", "hint"), BASES)
def test_a_base_image_that_cannot_be_had(
    run: Run, docker: Docker, base: str, cause: str, prefix: str, hint: str
) -> None:
    step = f"[internal] load metadata for {base}"
    short = base.removeprefix("docker.io/library/")
    error = failure(
        run,
        docker,
        f"#2 {step}\n#2 ERROR: {cause}\n------\n > {step}:\n------\n{EXCERPT}"
        f"ERROR: failed to build: failed to solve: {short}: {prefix}{cause}\n",
    )
    assert isinstance(error, ImageError)
    assert error.code == "base_image_unavailable"
    assert error.message.startswith(f"The base image {short} is not available: ")
    assert hint in error.hint


def test_a_base_image_that_the_legacy_builder_cannot_have(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2")
    error = failure(
        run,
        docker,
        'Step 1/1 : FROM nosuchbase:1\nGet "https://registry-1.docker.io/v2/": dial tcp: lookup '
        "registry-1.docker.io on 10.255.255.53:53: no such host\n",
    )
    assert error.code == "base_image_unavailable"
    assert error.message.startswith("The base image nosuchbase:1 is not available")


@pytest.mark.parametrize(
    "transcript",
    [
        "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n"
        f"{EXCERPT}ERROR: failed to build: failed to solve: dockerfile parse error on line 2: "
        "unknown instruction: RNU (did you mean ENV?)\n",
        "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n"
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: "
        "dockerfile parse error line 2: unknown instruction: RNU\n",
    ],
)
def test_a_dockerfile_that_cannot_be_read(run: Run, docker: Docker, transcript: str) -> None:
    error = failure(run, docker, transcript)
    assert error.code == "dockerfile_invalid"
    assert "unknown instruction: RNU" in error.message
    assert "failed to solve" not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "ERROR: failed to build: failed to solve: the Dockerfile cannot be empty",
        "Error response from daemon: failed to parse Dockerfile: file with no instructions",
    ],
)
def test_a_dockerfile_without_what_is_to_be_built(run: Run, docker: Docker, text: str) -> None:
    assert failure(run, docker, text).code == "dockerfile_invalid"


@pytest.mark.parametrize(
    "text",
    [
        'ERROR: failed to build: failed to solve: target stage "nosuch" could not be found',
        "Error response from daemon: failed to reach build target nosuch in Dockerfile",
    ],
)
def test_a_stage_that_is_not_there(run: Run, docker: Docker, text: str) -> None:
    error = failure(run, docker, text)
    assert error.code == "stage_missing"
    assert error.hint.startswith("correct build.target")


@pytest.mark.parametrize(
    "cause",
    [
        "ERROR: failed to build: failed to solve: failed to compute cache key: failed to calculate "
        'checksum of ref 2e7ff6b8-0335-430f-ba5e-b1d5a65ff5fc::d5y2: "/nofile": not found',
        'failed to compute cache key: "/nofile" not found: not found',
    ],
)
def test_a_file_that_is_not_in_the_context(run: Run, docker: Docker, cause: str) -> None:
    step = '#6 [2/2] COPY nofile /x\n#6 ERROR: "/nofile": not found\n'
    error = failure(run, docker, f"{step}------\n > [2/2] COPY nofile /x:\n------\n{cause}\n")
    assert error.code == "build_failed"
    assert error.message.endswith("[2/2] COPY nofile /x: there is no nofile in the build context")
    assert ".dockerignore" in error.hint


def test_a_file_that_the_legacy_builder_does_not_find(run: Run, docker: Docker) -> None:
    docker.without_buildx("28.5.2")
    error = failure(
        run,
        docker,
        "Step 2/2 : COPY nofile /x\nCOPY failed: file not found in build context or excluded by "
        ".dockerignore: stat nofile: file does not exist\n",
    )
    assert error.message.endswith("there is no nofile in the build context")


def test_several_platforms_with_the_engines_own_builder(run: Run, docker: Docker) -> None:
    error = failure(
        run,
        docker,
        "ERROR: failed to build: Multi-platform build is not supported for the docker driver.\n"
        "Switch to a different driver, or turn on the containerd image store, and try again.\n"
        "Learn more at https://docs.docker.com/go/build-multi-platform/\n",
    )
    assert error.code == "platforms_unsupported"
    assert "docker buildx create" in error.hint


def test_what_nobody_knows_is_still_told(run: Run, docker: Docker) -> None:
    error = failure(run, docker, "ERROR: failed to build: the moon is full\n")
    assert error.code == "build_failed"
    assert error.message == "The build failed: the moon is full"


def test_secrets_are_not_in_errors(run: Run, docker: Docker) -> None:
    docker.streams.append((failing_step(["the token is hunter22"], 1), 1))
    with pytest.raises(ImageError) as raised:
        run(BuildSettings(args={"TOKEN": "hunter22"}))
    assert raised.value.details == ("the token is ••••••",)


def test_neither_the_sdk_nor_the_console_is_loaded() -> None:
    """They take longer to import than a build that changes nothing takes."""
    code = "import sys, deploytool.image.build; print({'docker', 'rich', 'typer'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
