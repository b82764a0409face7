"""Packages to install with apt: compilers to build distributions, libraries to run them.

Names are those of Debian 13; where they differ between releases, a package that pulls in the
right one is named instead (ldap-utils for libldap). tests/unit/test_system.py lists them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from deploytool.discover.dependencies.requested import name_of

COMPILER = "build-essential"
RUST = ("rustc", "cargo", "pkg-config")


@dataclass(frozen=True)
class SystemPackages:
    """Debian packages, sorted, and what to know about them."""

    build: tuple[str, ...] = ()
    """For the stage that installs the dependencies."""
    run: tuple[str, ...] = ()
    """For the final image."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """The needs of a distribution that its wheel does not meet."""

    build: tuple[str, ...] = ()
    """Where it is built, beside a compiler."""
    linked: tuple[str, ...] = ()
    """At run time, where it was built here."""
    run: tuple[str, ...] = ()
    """At run time, also from a wheel."""
    unless: tuple[str, ...] = ()
    """Distributions that bring the same."""
    note: str = ""
    built_note: str = ""
    """A note for a distribution that is built here."""
    pure: bool = False
    """It has no wheel, and needs no compiler either."""


def system_packages(
    versions: Mapping[str, str], source_only: Collection[str], vcs: bool
) -> SystemPackages:
    """The apt packages for all that is installed (`versions`) and for what of it is built.

    `source_only` has names or `name==version`.
    """
    built = {name_of(pin) for pin in source_only}
    names = sorted({name_of(name) for name in versions} | built)
    needs = [(name, _known(name, versions), name in built) for name in names]
    return SystemPackages(
        build=_sorted(_git(vcs), *(_build(known) for _, known, is_built in needs if is_built)),
        run=_sorted(*(_run(known, is_built, names) for _, known, is_built in needs)),
        notes=tuple(note for need in needs for note in _notes(*need, names)),
    )


def _known(name: str, versions: Mapping[str, str]) -> Known:
    major = _major(versions.get(name, ""))
    older = OLDER.get(name)
    if older and major is not None and major < older[0]:
        return older[1]
    return KNOWN.get(name, Known())


def _major(version: str) -> int | None:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else None


def _git(vcs: bool) -> tuple[str, ...]:
    return ("git",) if vcs else ()


def _build(known: Known) -> tuple[str, ...]:
    return () if known.pure else (COMPILER, *known.build)


def _run(known: Known, is_built: bool, names: Collection[str]) -> tuple[str, ...]:
    if any(other in names for other in known.unless):
        return ()
    return (*known.run, *(known.linked if is_built else ()))


def _notes(name: str, known: Known, is_built: bool, names: Collection[str]) -> Iterable[str]:
    if known.note and not any(other in names for other in known.unless):
        yield f"{name} {known.note}"
    if is_built and not known.pure:
        yield f"{name} is built from source" + (f": {known.built_note}" if known.built_note else "")


def _sorted(*packages: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for some in packages for name in some}))


_MYSQL = Known(
    build=("default-libmysqlclient-dev", "pkg-config"),
    linked=("libmariadb3",),
    built_note="PyMySQL and asyncmy need no compiler",
)
_LDAP = Known(build=("libldap2-dev", "libsasl2-dev"), linked=("ldap-utils", "libsasl2-2"))
_KERBEROS = Known(build=("libkrb5-dev",), linked=("libgssapi-krb5-2",))
_RUST = Known(build=RUST)
_OPENCV = Known(
    run=("libgl1", "libglib2.0-0"),
    note="needs libGL in the image: opencv-python-headless is for servers and does not",
)
_HTML_TO_PDF = Known(
    note="runs wkhtmltopdf, which Debian 13 does not have: install it in the Dockerfile from its "
    "own site, or use weasyprint",
)
_JAVA = Known(run=("default-jre-headless",), note="runs Java, which is installed in the image")
_MAGIC = Known(run=("libmagic1",))
_FFMPEG = Known(run=("ffmpeg",))
_GRAPHVIZ = Known(run=("graphviz",))
_SQLCIPHER = Known(build=("libsqlcipher-dev",), linked=("sqlcipher",))
_PURE = Known(pure=True)

KNOWN: Mapping[str, Known] = {
    # databases
    "psycopg2": Known(
        build=("libpq-dev",),
        linked=("libpq5",),
        built_note="psycopg2-binary has wheels and needs no compiler",
    ),
    "psycopg2-binary": Known(build=("libpq-dev",), linked=("libpq5",)),
    "psycopg": Known(
        run=("libpq5",),
        unless=("psycopg-binary", "psycopg-c"),
        note="loads libpq, which is installed in the image: psycopg[binary] brings its own",
    ),
    "psycopg-c": Known(
        build=("libpq-dev",),
        linked=("libpq5",),
        built_note="psycopg[binary] has wheels and needs no compiler",
    ),
    "psycopg2cffi": Known(build=("libpq-dev", "libffi-dev"), linked=("libpq5",)),
    "mysqlclient": _MYSQL,
    "mariadb": Known(build=("libmariadb-dev",), linked=("libmariadb3",)),
    "pyodbc": Known(
        build=("unixodbc-dev",),
        run=("unixodbc",),
        note="needs the ODBC driver of the database too: install it in the Dockerfile",
    ),
    "pymssql": Known(build=("freetds-dev",), linked=("libsybdb5",)),
    "cx-oracle": Known(
        note="needs Oracle's client libraries: python-oracledb, its successor, does not"
    ),
    "fdb": Known(run=("libfbclient2",)),
    "firebird-driver": Known(run=("libfbclient2",)),
    "sqlcipher3": _SQLCIPHER,
    "pysqlcipher3": _SQLCIPHER,
    "plyvel": Known(build=("libleveldb-dev",), linked=("libleveldb1d",)),
    "pylibmc": Known(build=("libmemcached-dev", "zlib1g-dev"), linked=("libmemcached11",)),
    "confluent-kafka": Known(build=("librdkafka-dev",), linked=("librdkafka1",)),
    # directories and keys
    "python-ldap": _LDAP,
    "bonsai": _LDAP,
    "gssapi": _KERBEROS,
    "krb5": _KERBEROS,
    "pykerberos": _KERBEROS,
    "xmlsec": Known(
        build=("libxmlsec1-dev", "libxml2-dev", "pkg-config"), linked=("libxmlsec1-openssl",)
    ),
    "m2crypto": Known(build=("swig", "libssl-dev")),
    "cryptography": Known(build=(*RUST, "libssl-dev", "libffi-dev")),
    "cffi": Known(build=("libffi-dev",)),
    "pynacl": Known(build=("libffi-dev",)),
    "pycurl": Known(build=("libcurl4-openssl-dev", "libssl-dev"), linked=("libcurl4",)),
    # Rust
    "bcrypt": _RUST,
    "jiter": _RUST,
    "orjson": _RUST,
    "polars": _RUST,
    "pydantic-core": _RUST,
    "rpds-py": _RUST,
    "safetensors": _RUST,
    "tiktoken": _RUST,
    "tokenizers": _RUST,
    "watchfiles": _RUST,
    # documents and pictures
    "lxml": Known(build=("libxml2-dev", "libxslt1-dev"), linked=("libxslt1.1",)),
    "pillow": Known(
        build=("libjpeg-dev", "libfreetype-dev", "zlib1g-dev"),
        linked=("libjpeg62-turbo", "libfreetype6"),
    ),
    "opencv-python": _OPENCV,
    "opencv-contrib-python": _OPENCV,
    "mediapipe": Known(run=("libegl1", "libgles2")),
    "pdf2image": Known(run=("poppler-utils",)),
    "pytesseract": Known(run=("tesseract-ocr",)),
    "ocrmypdf": Known(run=("ghostscript", "tesseract-ocr")),
    "weasyprint": Known(run=("libharfbuzz-subset0", "libpango-1.0-0", "libpangoft2-1.0-0")),
    "pdfkit": _HTML_TO_PDF,
    "imgkit": _HTML_TO_PDF,
    "cairosvg": Known(run=("libcairo2",)),
    "cairocffi": Known(run=("libcairo2",)),
    "pycairo": Known(build=("libcairo2-dev", "pkg-config"), linked=("libcairo2",)),
    "pygobject": Known(
        build=("libcairo2-dev", "libgirepository-2.0-dev", "pkg-config"),
        linked=("libgirepository-2.0-0",),
    ),
    "pyzbar": Known(run=("libzbar0",)),
    "pylibdmtx": Known(run=("libdmtx0b",)),
    "pyvips": Known(run=("libvips42",), unless=("pyvips-binary",)),
    "wand": Known(run=("imagemagick",)),
    "camelot-py": Known(run=("ghostscript",)),
    "ghostscript": Known(run=("ghostscript",)),
    "pyexiftool": Known(run=("libimage-exiftool-perl",)),
    "pypandoc": Known(run=("pandoc",), unless=("pypandoc-binary",)),
    "python-magic": _MAGIC,
    "file-magic": _MAGIC,
    "filemagic": _MAGIC,
    "graphviz": _GRAPHVIZ,
    "pydot": _GRAPHVIZ,
    "pygraphviz": Known(build=("libgraphviz-dev", "pkg-config"), run=("graphviz",)),
    # sound and video
    "pydub": _FFMPEG,
    "ffmpeg-python": _FFMPEG,
    "python-ffmpeg": _FFMPEG,
    "openai-whisper": _FFMPEG,
    "pyaudio": Known(build=("portaudio19-dev",), linked=("libportaudio2",)),
    "sounddevice": Known(run=("libportaudio2",)),
    "pyttsx3": Known(run=("espeak-ng",)),
    # numbers, maps and language
    "scipy": Known(
        build=("gfortran", "libopenblas-dev", "pkg-config"),
        linked=("libgfortran5", "libopenblas0"),
    ),
    "lightgbm": Known(build=("cmake",), run=("libgomp1",)),
    "llama-cpp-python": Known(build=("cmake",), linked=("libgomp1",)),
    "dlib": Known(build=("cmake",)),
    "gdal": Known(
        build=("libgdal-dev",),
        linked=("gdal-bin",),
        built_note="its version must be that of Debian's libgdal",
    ),
    "pyicu": Known(build=("libicu-dev", "pkg-config"), linked=("libxml2",)),
    "pyenchant": Known(run=("libenchant-2-2",)),
    "tabula-py": _JAVA,
    "pyspark": _JAVA,
    "tika": _JAVA,
    "konlpy": _JAVA,
    "language-tool-python": _JAVA,
    # the rest
    "gitpython": Known(run=("git",)),
    "uvloop": Known(build=("autoconf", "automake", "libtool")),
    "python-snappy": Known(build=("libsnappy-dev",), linked=("libsnappy1v5",)),
    "dbus-python": Known(
        build=("libdbus-1-dev", "libglib2.0-dev", "pkg-config"),
        linked=("libdbus-1-3", "libglib2.0-0"),
    ),
    "systemd-python": Known(build=("libsystemd-dev", "pkg-config"), linked=("libsystemd0",)),
    "playwright": Known(
        note="drives a browser: `RUN playwright install --with-deps chromium` in the Dockerfile "
        "installs one"
    ),
    "selenium": Known(
        note="drives a browser: install chromium and chromium-driver in the Dockerfile, or use a "
        "remote one"
    ),
    "pyyaml": Known(built_note="5.4 and older no longer build, 6.0.1 and newer have wheels"),
    "docopt": _PURE,
    "sgmllib3k": _PURE,
    "langdetect": _PURE,
    "rouge-score": _PURE,
    "pypika": _PURE,
    "jieba": _PURE,
    "future": _PURE,
    "wikipedia": _PURE,
    "fire": _PURE,
}

OLDER: Mapping[str, tuple[int, Known]] = {
    "weasyprint": (
        53,
        Known(run=("libcairo2", "libgdk-pixbuf-2.0-0", "libpango-1.0-0", "libpangocairo-1.0-0")),
    ),
    "bcrypt": (4, Known(build=("libffi-dev",))),
}
"""The needs of releases before a major version."""
