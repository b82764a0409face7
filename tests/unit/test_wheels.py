"""Which files of a distribution install without a compiler, and which markers hold."""

import pytest

from deploytool.discover.dependencies.wheels import allows, applies, has_source, has_wheel, tags_of


@pytest.mark.parametrize(
    ("file", "python", "fits"),
    [
        ("a-1-py3-none-any.whl", "3.8", True),
        ("a-1-py2.py3-none-any.whl", "3.13", True),
        ("a-1-py2-none-any.whl", "3.13", False),
        ("a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "3.13", True),
        ("a-1-cp313-cp313-manylinux_2_17_x86_64.whl", "3.13.2", True),
        ("a-1-cp310-cp310-manylinux_2_17_x86_64.whl", "3.11", False),
        ("a-1-cp38-cp38-manylinux1_x86_64.whl", "3.8", True),
        ("a-1-cp37-abi3-manylinux2010_x86_64.whl", "3.13", True),
        ("a-1-cp312-abi3-manylinux_2_36_x86_64.whl", "3.11", False),
        ("a-1-cp313-cp313-manylinux_2_36_x86_64.whl", "3.13", True),
        ("a-1-cp313-cp313-manylinux_2_39_x86_64.whl", "3.13", False),
        ("a-1-cp313-cp313-linux_x86_64.whl", "3.13", True),
        ("a-1-py3-none-manylinux_2_28_x86_64.whl", "3.12", True),
        ("a-1-cp313-cp313t-manylinux_2_17_x86_64.whl", "3.13", False),
        ("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", "3.13", False),
        ("a-1-cp313-cp313-manylinux_2_17_aarch64.whl", "3.13", False),
        ("a-1-cp313-cp313-win_amd64.whl", "3.13", False),
        ("a-1-cp313-cp313-macosx_11_0_arm64.whl", "3.13", False),
        ("https://host/p/a-1%2Bcpu-cp313-cp313-linux_x86_64.whl#sha256=0", "3.13", True),
        ("a-1.tar.gz", "3.13", False),
        ("nonsense.whl", "3.13", False),
    ],
)
def test_has_wheel(file: str, python: str, fits: bool) -> None:
    assert has_wheel([file], python) is fits


def test_one_of_many_is_enough() -> None:
    files = ["a-1.tar.gz", "a-1-cp39-cp39-win32.whl", "a-1-cp312-cp312-manylinux1_x86_64.whl"]
    assert has_wheel(files, "3.12")
    assert not has_wheel(files, "3.13")
    assert has_source(files)
    assert not has_source(files[1:])
    assert not tags_of("a-1.tar.gz")


@pytest.mark.parametrize(
    ("marker", "python", "extras", "holds"),
    [
        ("", "3.13", [], True),
        ("sys_platform == 'win32'", "3.13", [], False),
        ("platform_python_implementation != 'PyPy'", "3.13", [], True),
        ("python_version < '3.11'", "3.10", [], True),
        ("python_full_version < '3.11.3'", "3.11", [], False),
        ("python_full_version < '3.11.3'", "3.11.2", [], True),
        ("extra == 'standard'", "3.13", [], False),
        ("extra == 'standard'", "3.13", ["standard"], True),
        ("extra == 'a' or python_version < '3'", "3.13", ["b"], False),
        ("nonsense", "3.13", [], True),
    ],
)
def test_markers(marker: str, python: str, extras: list[str], holds: bool) -> None:
    assert applies(marker, python, extras) is holds


def test_constraints() -> None:
    assert allows("", "1")
    assert allows(">=1,<2", "1.5rc1")
    assert not allows("<1", "1.5")
    assert allows("?", "1.5")
