"""What an installation brings is what docs/dependencies.md says, from versions without known
vulnerabilities: an audit that needs no network.
"""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import apsw
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

EXTRAS = ("metrics", "postgres", "holidays")
"""The extras that are for users."""
ELSEWHERE = {"cffi", "pycparser", "time-machine", "typing-extensions"}
"""What comes on other platforms or with other versions alone."""
OF_EXTRAS = {
    "prometheus-client": ("metrics.py",),
    "psycopg": ("storage/postgres/",),
    "holidays": ("triggers/public_holidays.py",),
    "pytest": ("testing/plugin.py",),
}
"""Where a distribution may be imported that an installation need not have."""
DATA = {"tzdata"}
"""Read, never imported."""
LICENCES = {
    "MIT": r"\bMIT\b|Permission is hereby granted, free of charge",
    "BSD-3-Clause": r"\bBSD\b",
    "BSD-2-Clause": r"\bBSD\b",
    "Apache-2.0": r"Apache",
    "PSF-2.0": r"PSF|Python Software Foundation",
    "ZPL-2.1": r"ZPL|Zope Public",
    "LGPL-3.0-only": r"LGPL|Lesser General Public",
    "any-OSI": r"any-OSI",
}
"""The licences that may be brought along, and how a distribution says so."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "dependencies.md").read_text(encoding="utf-8")


def _rows(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has this head."""
    lines = page.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture(scope="module")
def listed(page: str) -> dict[str, list[str]]:
    """The rows of the page, by distribution."""
    return {row[0]: row for row in _rows(page, "distribution")}


@pytest.fixture(scope="module")
def declared(setup_cfg: configparser.ConfigParser) -> dict[str, Requirement]:
    """What setup.cfg asks for, in an installation with all extras for users."""
    texts = setup_cfg["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        texts += setup_cfg["options.extras_require"][extra].splitlines()
    found = [Requirement(text) for text in texts if text and not text.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


@pytest.fixture(scope="module")
def brought(declared: dict[str, Requirement]) -> dict[str, importlib.metadata.Distribution]:
    """What an installation brings here: the declared ones, theirs, and so on."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(declared.values())
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        known = found.setdefault(name, importlib.metadata.distribution(name))
        for text in known.requires or ():
            further = Requirement(text)
            if canonicalize_name(further.name) not in found and any(
                further.marker is None or further.marker.evaluate({"extra": extra})
                for extra in ("", *requirement.extras)
            ):
                waiting.append(further)
    return found


def test_the_page_lists_what_an_installation_brings_and_nothing_else(
    listed: dict[str, list[str]], brought: dict[str, object]
) -> None:
    assert brought.keys() - listed.keys() == set()
    assert listed.keys() - brought.keys() <= ELSEWHERE


def test_the_page_has_the_versions_of_setup_cfg(
    listed: dict[str, list[str]], declared: dict[str, Requirement]
) -> None:
    told = {name: row[2].strip("`") for name, row in listed.items()}
    asked = {name: Requirement(f"x{text}") for name, text in told.items() if text != "any"}
    assert {name: found.specifier for name, found in asked.items()} == {
        name: found.specifier for name, found in declared.items() if found.specifier
    }


def test_no_requirement_is_a_url_or_an_exact_version(declared: dict[str, Requirement]) -> None:
    for requirement in declared.values():
        assert requirement.url is None
        assert not {"==", "==="} & {part.operator for part in requirement.specifier}


def _lowest(requirement: Requirement) -> Version | None:
    lowest = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    return max(lowest, default=None)


def test_the_constraints_of_the_lowest_versions_are_those_of_setup_cfg(
    root: Path, declared: dict[str, Requirement]
) -> None:
    text = (root / "tests" / "packaging" / "floors.txt").read_text(encoding="utf-8")
    floors = dict(line.split("==") for line in text.splitlines() if not line.startswith("#"))
    lowest = {name: _lowest(requirement) for name, requirement in declared.items()}
    assert floors.keys() == {name for name, version in lowest.items() if version is not None}
    for name, version in floors.items():
        # The first release that there is of a series: gevent 24.10 came as 24.10.1.
        least = lowest[name]
        assert least is not None
        assert Version(version).release[: len(least.release)] == least.release


# -- licences ------------------------------------------------------------------------------------


def _says(distribution: importlib.metadata.Distribution) -> str:
    """All that a distribution says of its licence."""
    known = distribution.metadata
    told = [known[name] for name in ("License-Expression", "License") if name in known]
    told += [line for line in known.get_all("Classifier") or [] if line.startswith("License")]
    if not any(told):
        told += [
            file.read_text()[:2000]
            for file in distribution.files or ()
            if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))
        ]
    return "\n".join(told)


def test_every_licence_is_one_of_a_few_and_what_its_distribution_says(
    listed: dict[str, list[str]], brought: dict[str, importlib.metadata.Distribution]
) -> None:
    for name, row in listed.items():
        for licence in row[3].split(", "):
            assert licence in LICENCES, name
            if name in brought:
                assert re.search(LICENCES[licence], _says(brought[name])), (name, licence)
    for name, distribution in brought.items():
        assert not re.search(r"\bA?GPL|SSPL|[Pp]roprietary", _says(distribution)), name


# -- vulnerabilities -----------------------------------------------------------------------------


def test_no_version_with_a_known_vulnerability_is_taken_or_installed(
    page: str,
    declared: dict[str, Requirement],
    brought: dict[str, importlib.metadata.Distribution],
) -> None:
    rows = _rows(page, "of")
    assert len(rows) >= 4
    for name, least, because, _ in rows:
        assert Version(brought[name].version) >= Version(least), because
        # What comes with another has its version.
        asked = _lowest(declared[name.removesuffix("-binary")])
        assert asked is not None, name
        assert asked >= Version(least), because


def test_the_sqlite_that_is_used_is_the_one_that_the_driver_brings() -> None:
    assert Version(apsw.sqlite_lib_version()) >= Version("3.51.3")


# -- what is imported ----------------------------------------------------------------------------


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


@pytest.fixture(scope="module")
def imported(root: Path, modules: list[PurePosixPath]) -> dict[str, set[str]]:
    """Where each distribution is imported, by path."""
    providers = importlib.metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in modules:
        for module in _imported(root / path):
            for provider in providers.get(module, ()):
                found.setdefault(canonicalize_name(provider), set()).add(str(path))
    found.pop("kalends", None)
    return found


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(
    imported: dict[str, set[str]],
    declared: dict[str, Requirement],
    setup_cfg: configparser.ConfigParser,
) -> None:
    assert imported.keys() - {"pytest"} == declared.keys() - DATA
    always = setup_cfg["options"]["install_requires"]
    for name, paths in imported.items():
        if name in OF_EXTRAS:
            assert all(path.startswith(OF_EXTRAS[name]) for path in paths), name
        else:
            assert re.search(rf"^{name}\b", always, re.MULTILINE), name


def test_nothing_runs_code_when_it_is_installed_or_when_an_interpreter_starts(
    root: Path, brought: dict[str, importlib.metadata.Distribution]
) -> None:
    assert not (root / "setup.py").exists()
    assert 'build-backend = "setuptools.build_meta"' in (root / "pyproject.toml").read_text()
    starting = {
        name: [str(file) for file in distribution.files or () if file.suffix == ".pth"]
        for name, distribution in brought.items()
    }
    assert not any(starting.values())
