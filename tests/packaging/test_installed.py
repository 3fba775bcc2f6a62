"""The tests look at the installed wheel, never at the checkout."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
from pathlib import Path

import pytest

import kalends


@pytest.mark.usefixtures("installed")
def test_kalends_is_imported_from_site_packages() -> None:
    assert kalends.__file__ is not None
    assert Path(kalends.__file__).parent == Path(sysconfig.get_path("purelib")) / "kalends"


@pytest.mark.usefixtures("installed")
def test_the_checkout_is_not_on_the_import_path(root: Path) -> None:
    # A path entry of "" is the working directory.
    entries = {Path(entry or ".").resolve() for entry in sys.path}
    assert root not in entries
    assert root.parent not in entries


@pytest.mark.usefixtures("installed")
def test_the_installed_distribution_is_not_editable() -> None:
    files = importlib.metadata.files("kalends")
    assert files is not None
    assert "kalends/__init__.py" in {str(file) for file in files}


@pytest.mark.usefixtures("installed")
def test_the_checkout_is_imported_under_no_other_name(root: Path) -> None:
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    from_checkout = {name for name, file in files.items() if file and Path(file).parent == root}
    assert from_checkout == set()
