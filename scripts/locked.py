"""A package as uv.lock has it, for `pip install --require-hashes -r`: one version, known files."""

import sys
import tomllib
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"


def requirement(name: str) -> str:
    packages = tomllib.loads(LOCK.read_text(encoding="utf-8"))["package"]
    found = next(package for package in packages if package["name"] == name)
    hashes = [file["hash"] for file in (*found["wheels"], found["sdist"])]
    return " ".join([f"{name}=={found['version']}", *(f"--hash={known}" for known in hashes)])


if __name__ == "__main__":
    sys.stdout.write(f"{requirement(sys.argv[1])}\n")
