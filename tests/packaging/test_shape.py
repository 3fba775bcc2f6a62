"""The limits that keep the tree readable: sizes, names, and a layer for every module."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path, PurePosixPath

import pytest

MODULE_LINES = 400
FUNCTION_LINES = 60
INIT_LINES = 60
VAGUE_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


@pytest.fixture(scope="session")
def sources(root: Path, modules: list[PurePosixPath]) -> dict[str, str]:
    """The text of every Python file of the package, its tests, examples and benchmarks."""
    paths = [root / path for path in modules]
    for folder in ("benchmarks", "examples", "tests"):
        paths += sorted((root / folder).rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def _dotted(path: PurePosixPath) -> str:
    parts = path.with_suffix("").parts
    return ".".join(("kalends", *(part for part in parts if part != "__init__")))


def _lines(text: str) -> int:
    return len(text.splitlines())


def test_the_package_is_found(modules: list[PurePosixPath]) -> None:
    assert {"kalends", "kalends.clock", "kalends.actors.runtime"} <= set(map(_dotted, modules))


def test_no_module_is_over_400_lines(sources: dict[str, str]) -> None:
    lengths = {name: _lines(text) for name, text in sources.items()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_is_over_60_lines(sources: dict[str, str]) -> None:
    long = {}
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{name}:{node.lineno} {node.name}"] = lines
    assert long == {}


def test_every_init_file_is_under_60_lines(sources: dict[str, str]) -> None:
    lengths = {name: _lines(text) for name, text in sources.items() if name.endswith("__init__.py")}
    assert {name: lines for name, lines in lengths.items() if lines >= INIT_LINES} == {}


def test_no_root_module_bears_a_standard_library_name(modules: list[PurePosixPath]) -> None:
    names = {path.with_suffix("").parts[0] for path in modules}
    assert names & set(sys.stdlib_module_names) == set()


def test_no_module_has_a_vague_name(modules: list[PurePosixPath]) -> None:
    vague = {str(path) for path in modules if VAGUE_NAMES & set(path.with_suffix("").parts)}
    assert vague == set()


def test_every_module_starts_with_what_it_promises(sources: dict[str, str]) -> None:
    silent = {name for name, text in sources.items() if not ast.get_docstring(ast.parse(text))}
    assert silent == set()


def test_every_module_has_its_place_in_the_layers(
    modules: list[PurePosixPath], setup_cfg: configparser.ConfigParser
) -> None:
    layers = setup_cfg["importlinter:contract:layers"]["layers"]
    placed = set(re.findall(r"[\w.]+", layers))
    homeless = set()
    for name in map(_dotted, modules):
        # The __init__.py of a package whose modules are placed one by one stands outside.
        above = any(other.startswith(f"{name}.") for other in placed)
        within = any(name == other or name.startswith(f"{other}.") for other in placed)
        if not (above or within):
            homeless.add(name)
    assert homeless == set()
