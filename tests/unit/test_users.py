"""Whether an image has the users that services name, by what docker says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deploytool.errors import ImageError
from deploytool.image import users
from deploytool.process import Finished, ProgramMissing
from tests.builders import service, worker

IMAGE = "registry.example.com/items:tree-1"
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:10001:10001::/home/app:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:33:app\n"
NO_FILE = "Error response from daemon: Could not find the file /etc/passwd in container 1234"


class Docker:
    """An engine that has an image, or not."""

    def __init__(self, user: str = "", files: Mapping[str, str] | None = None) -> None:
        self.user = user
        self.files = {"/etc/passwd": PASSWD, "/etc/group": GROUP} if files is None else files
        self.is_here = True
        self.complaint = NO_FILE
        self.calls: list[str] = []

    def capture(self, command: Sequence[str], *, env: Mapping[str, str]) -> Finished:
        del env
        _, name, *arguments = command
        self.calls.append(name)
        if not self.is_here:
            return Finished(1, "", "Error: No such image")
        if name == "image":
            return Finished(0, f"{self.user}\n", "")
        if name == "create":
            return Finished(0, "1234\n", "")
        if name == "cp":
            file = arguments[-2].removeprefix("1234:")
            if file not in self.files:
                return Finished(1, "", self.complaint)
            Path(arguments[-1]).write_text(self.files[file])
        return Finished(0, "", "")


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker()
    monkeypatch.setattr(users, "capture", made.capture)
    return made


@pytest.mark.parametrize("user", ["", "10001", "0:0", "10001:33", "app", "root:web", "app:10001"])
def test_users_that_are_there(docker: Docker, user: str) -> None:
    docker.user = user
    users.check(IMAGE, [service()])
    users.check(IMAGE, [service(user=user or None)])
    assert docker.calls.count("create") == docker.calls.count("rm")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("uvicorn", "The image has no user uvicorn, which USER of the Dockerfile names"),
        ("App", "no user App,"),
        ("app:staff", "no group staff,"),
        ("10001:staff", "no group staff,"),
    ],
)
def test_a_name_that_the_image_lacks_is_refused(docker: Docker, user: str, words: str) -> None:
    docker.user = user
    with pytest.raises(ImageError) as caught:
        users.check(IMAGE, [service(), worker()])
    assert caught.value.code == "user_missing"
    assert words in caught.value.message
    assert "write its number" in caught.value.hint
    assert docker.calls[-1] == "rm"


def test_the_user_of_a_service_comes_before_that_of_the_image(docker: Docker) -> None:
    docker.user = "nobody-has-it"
    users.check(IMAGE, [service(user="app")])
    assert "image" not in docker.calls
    with pytest.raises(ImageError, match=r"no user other, which services\.web\.user names"):
        users.check(IMAGE, [service(user="other")])


def test_an_image_without_a_file_of_users_knows_numbers_alone(docker: Docker) -> None:
    docker.user, docker.files = "app", {}
    with pytest.raises(ImageError, match="no user app"):
        users.check(IMAGE, [service()])
    docker.user = "10001"
    users.check(IMAGE, [service()])


def test_numbers_cost_no_container(docker: Docker) -> None:
    docker.user = "10001:10001"
    users.check(IMAGE, [service()])
    assert docker.calls == ["image"]


def test_what_nobody_knows_is_not_refused(docker: Docker) -> None:
    docker.user, docker.files = "app", {}
    docker.complaint = "Error response from daemon: context deadline exceeded"
    users.check(IMAGE, [service()])
    docker.is_here = False
    users.check(IMAGE, [service(), worker(user="other")])


def test_ready_made_images_are_left_to_the_engine(docker: Docker) -> None:
    users.check(IMAGE, [worker(image="redis:8", user="nobody-has-it")])
    assert docker.calls == []


def test_the_container_goes_whatever_happens(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.user = "app"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(users, "_read_names", interrupted)
    with pytest.raises(KeyboardInterrupt):
        users.check(IMAGE, [service()])
    assert docker.calls[-1] == "rm"


def test_without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> Finished:
        raise ProgramMissing("docker")

    monkeypatch.setattr(users, "capture", missing)
    with pytest.raises(Exception, match="docker") as caught:
        users.check(IMAGE, [service()])
    assert getattr(caught.value, "code", "") == "docker_missing"
