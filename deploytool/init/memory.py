"""How much memory a process is given at first. What it needs is known only once it runs."""

from __future__ import annotations

from collections.abc import Collection

USUAL = 128
"""MiB that are reserved for a process. Its limit is twice that."""
LARGE = 256
VERY_LARGE = 1024
_LARGE = frozenset(
    {"pandas", "polars", "scipy", "scikit-learn", "scikit-image", "matplotlib", "pyarrow"}
    | {"opencv-python", "opencv-python-headless", "opencv-contrib-python", "numba", "nltk"}
    | {"onnxruntime", "faiss-cpu", "chromadb", "statsmodels", "geopandas", "playwright"}
)
_VERY_LARGE = frozenset(
    {"torch", "torchvision", "tensorflow", "tensorflow-cpu", "keras", "jax", "transformers"}
    | {"sentence-transformers", "spacy", "xgboost", "lightgbm", "catboost", "diffusers", "vllm"}
    | {"openai-whisper", "faster-whisper", "ultralytics", "easyocr", "paddlepaddle", "stanza"}
)


def in_units(memory: int) -> str:
    """Some MiB as the configuration has them."""
    return f"{memory // 1024}GiB" if memory % 1024 == 0 else f"{memory}MiB"


def estimate(distributions: Collection[str]) -> tuple[int, tuple[str, ...]]:
    """MiB to reserve for a process that has these installed, and those that ask for more than
    usual."""
    for wanted, known in ((VERY_LARGE, _VERY_LARGE), (LARGE, _LARGE)):
        if found := sorted(known.intersection(distributions)):
            return wanted, tuple(found)
    return USUAL, ()
