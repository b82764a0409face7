"""Certificates as Nomad's own authority makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

NAME = "server.global.nomad"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem and what it vouches for, cert.pem with key.pem; other.pem is another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{NAME}")
    for command in (
        (*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"),
        (*new, "-keyout", "key.pem", "-out", "cert.pem", "-subj", f"/CN={NAME}", *signed),
        (*new, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other"),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return folder
