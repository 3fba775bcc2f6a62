"""What the packaging checks look at: this checkout, and the wheel that tox built of it."""

from __future__ import annotations

import configparser
import os
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Folders of the checkout that are no part of the package.
OUTSIDE = {"benchmarks", "build", "dist", "docs", "examples", "htmlcov", "site", "tests"}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: the folder that is the import package ``kalends``."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[PurePosixPath]:
    """The package's Python files, by path from the root."""
    found: list[PurePosixPath] = []
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        # Environments may stand in the checkout: what begins with a dot is never entered.
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "__pycache__"))
            and not (here == Path() and name in OUTSIDE)
        ]
        found += [PurePosixPath(here, name) for name in files if name.endswith(".py")]
    return sorted(found)


@pytest.fixture(scope="session")
def setup_cfg() -> configparser.ConfigParser:
    """The parsed ``setup.cfg``."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="session")
def installed() -> None:
    """Skips outside tox, where ``kalends`` may be the checkout itself."""
    if "TOX_PACKAGE" not in os.environ:
        pytest.skip(
            "only under tox, which builds and installs the wheel and names it in TOX_PACKAGE"
        )


@pytest.fixture(scope="session")
def wheel(installed: None) -> Path:
    """The wheel under test."""
    path = Path(os.environ["TOX_PACKAGE"])
    assert path.suffix == ".whl", f"tox installed {path}, not a wheel"
    return path
