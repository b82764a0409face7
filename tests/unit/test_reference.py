import pytest

from deploytool.errors import UsageError
from deploytool.image.reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("redis", "redis", None, None),
        ("redis:8", "redis", "8", None),
        ("registry.example.com/team/items:v1", "registry.example.com/team/items", "v1", None),
        ("10.90.0.1:5000/items", "10.90.0.1:5000/items", None, None),
        ("[::1]:5000/items:a", "[::1]:5000/items", "a", None),
        (f"localhost:5000/items@{DIGEST}", "localhost:5000/items", None, DIGEST),
        (f"localhost/items:v1@{DIGEST}", "localhost/items", "v1", DIGEST),
        ("a/b__c/d-e.f:T_1.x-", "a/b__c/d-e.f", "T_1.x-", None),
    ],
)
def test_parts(text: str, repository: str, tag: str | None, digest: str | None) -> None:
    parsed = Reference.parse(text)
    assert parsed == Reference(repository, tag, digest)
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Items",
        "items:",
        "items:.a",
        "a//b",
        "https://a/b",
        "items@sha256:12",
        "a b",
        "-a",
        "a:",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of an image"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("repository", "host", "login"),
    [
        ("redis", "docker.io", "docker login"),
        ("me/items", "docker.io", "docker login"),
        ("localhost/items", "localhost", "docker login localhost"),
        ("localhost:5000/items", "localhost:5000", "docker login localhost:5000"),
        ("ghcr.io/me/items", "ghcr.io", "docker login ghcr.io"),
    ],
)
def test_registry(repository: str, host: str, login: str) -> None:
    reference = Reference.parse(repository)
    assert (reference.host, reference.login) == (host, login)
