"""The wheel holds the package and nothing else, and works alone."""

from __future__ import annotations

import configparser
import os
import subprocess
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest


def _in_wheel(modules: list[PurePosixPath]) -> set[str]:
    """Where every file of the package has to be in the wheel, by the checkout's tree."""
    return {"kalends/py.typed", *(f"kalends/{path}" for path in modules)}


def test_the_package_list_is_complete(
    modules: list[PurePosixPath], setup_cfg: configparser.ConfigParser
) -> None:
    listed = setup_cfg["options"]["packages"].split()
    folders = {file.rpartition("/")[0] for file in _in_wheel(modules)}
    assert sorted(listed) == sorted(folder.replace("/", ".") for folder in folders)


def test_every_folder_of_the_package_has_an_init_file(
    modules: list[PurePosixPath],
) -> None:
    files = _in_wheel(modules)
    folders = {file.rpartition("/")[0] for file in files}
    assert {folder for folder in folders if f"{folder}/__init__.py" not in files} == set()


def test_the_wheel_holds_the_package_and_nothing_else(
    modules: list[PurePosixPath], wheel: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == _in_wheel(modules)


def test_the_wheel_carries_its_license_and_installs_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"kalends"}
        license_file = next(name for name in names if name.endswith("licenses/LICENSE"))
        assert b"Apache License" in archive.read(license_file)


def test_the_wheel_is_pure_and_says_which_pythons_it_takes(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata_file = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(metadata_file).decode("utf-8").splitlines()
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: Apache-2.0" in metadata


@pytest.fixture(scope="module")
def fresh_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment that holds the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", str(wheel)],
        check=True,
        timeout=300,
        env=_clean_environment(),
    )
    return python


def _clean_environment() -> dict[str, str]:
    """The environment without what would let a Python see more than its own packages."""
    hidden = ("PYTHON", "COV", "TOX")
    return {key: value for key, value in os.environ.items() if not key.startswith(hidden)}


def _run(python: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=_clean_environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.fresh_environment
@pytest.mark.timeout(400)
def test_a_fresh_environment_imports_kalends(fresh_python: Path, tmp_path: Path) -> None:
    program = "import kalends, sys; print(*sorted(m for m in sys.modules if m in sys.argv))"
    done = _run(
        *(fresh_python, "-W", "error", "-c", program),
        # What a host does not ask for is not loaded.
        *("kalends", "kalends.cli", "kalends.testing", "kalends.web", "pytest"),
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "kalends"), done.stderr


@pytest.mark.fresh_environment
@pytest.mark.timeout(400)
def test_a_fresh_environment_runs_the_quickstart(
    root: Path, fresh_python: Path, tmp_path: Path
) -> None:
    done = _run(fresh_python, str(root / "examples" / "quickstart.py"), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
