"""Rules of security that hold for the source as a whole: what no module may do, anywhere.

They are read from the syntax of the installed package, so that a new module keeps to them or fails.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kalends

PACKAGE = Path(kalends.__file__).parent
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
SHIPPED = {name: tree for name, tree in MODULES.items() if not name.startswith("testing/")}
"""Without the tools for tests."""


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """The last name of each function that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr, node
            elif isinstance(node.func, ast.Name):
                yield node.func.id, node


def test_there_is_something_to_read() -> None:
    assert len(SHIPPED) > 100
    assert "storage/sqlite.py" in SHIPPED


def test_no_module_can_make_objects_from_stored_bytes() -> None:
    makers = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
    for name, tree in MODULES.items():
        assert not makers & {module.partition(".")[0] for module in imported(tree)}, name
        unsafe = {"eval", "exec", "__import__", "__setstate__", "literal_eval"}
        assert not unsafe & {function for function, _ in called(tree)}, name


def test_stored_text_is_imported_in_one_place_behind_the_allowed_prefixes() -> None:
    importing = {
        name
        for name, tree in SHIPPED.items()
        if {"import_module", "find_spec", "run_module", "run_path", "resolve_name"}
        & {function for function, _ in called(tree)}
    }
    assert importing == {
        "jobs/registry.py",
        # The worker's side: what the host has resolved by its registry is found again there.
        "jobs/executors/process_orders.py",
    }


def test_nothing_listens() -> None:
    """So there is no address to bind, no header to forge and no page to inject anything into."""
    serving = {
        "http", "socketserver", "wsgiref", "xmlrpc", "html", "jinja2",
        "gevent.server", "gevent.pywsgi", "gevent.socket",
    }  # fmt: skip
    opening = {"create_server", "start_server", "start_unix_server", "StreamServer", "WSGIServer"}
    for name, tree in SHIPPED.items():
        found = set(imported(tree))
        assert not serving & (found | {module.partition(".")[0] for module in found}), name
        assert not opening & {function for function, _ in called(tree)}, name
    names_of_hosts = {name for name, tree in SHIPPED.items() if "socket" in set(imported(tree))}
    assert names_of_hosts == {"storage/nodes.py"}, "it asks for the name of this host"


STATEMENT = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|LISTEN|VACUUM|BEGIN|SET|WHERE|ORDER BY)\b"
)
PUT_IN = {
    # Milliseconds of the settings, and the settings of a session, all of the dialect's own making.
    "storage/postgres/dialect.py": {"address.schema", "turn", "patience", "name", "value"},
    "storage/postgres/schema.py": {"address.schema", "address.quoted"},  # checked, or quoted
    # Parts of a statement that Peewee has spelled, its values left out.
    "storage/postgres/together.py": {"head", "beside", "given", "names", "tail"},
    "storage/sqlite.py": {"level", "temporary"},
}
"""What may be put into the text of a statement, beside constants, numbers and what the dialect
itself holds. Somebody has looked at each: it is no value that a user gives.
"""
HARMLESS = re.compile(r"(\w+\.)*[A-Z_]+|self\._\w+|(round|int|max|min|len)\(.*\)")


def put_in(node: ast.AST) -> set[str]:
    """What is put into the text of a statement here, by whatever way."""
    if isinstance(node, ast.JoinedStr):
        text = [part.value for part in node.values if isinstance(part, ast.Constant)]
        holes = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        sides = (node.left, node.right)
        text = [side.value for side in sides if isinstance(side, ast.Constant)]
        holes = [side for side in sides if not isinstance(side, ast.Constant)]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        formats = node.func.attr in {"format", "format_map", "replace", "join"}
        text = [owner.value] if formats and isinstance(owner, ast.Constant) else []
        holes = [*node.args, *(keyword.value for keyword in node.keywords)]
    else:
        return set()
    if not STATEMENT.search(" ".join(str(part) for part in text)):
        return set()
    return {ast.unparse(hole) for hole in holes}


def test_no_value_is_put_into_the_text_of_a_statement() -> None:
    """Values travel beside a statement and never in it."""
    seen = set()
    for name, tree in SHIPPED.items():
        for node in ast.walk(tree):
            for hole in put_in(node):
                seen.add(name)
                assert HARMLESS.fullmatch(hole) or hole in PUT_IN.get(name, ()), (name, hole)
    assert {"storage/sqlite.py", "storage/postgres/together.py"} <= seen, (
        "there is something to see"
    )


@pytest.mark.parametrize(
    "source",
    ["f'SELECT {x}'", "'SELECT ' + x", "'SELECT %s' % x", "'DELETE {}'.format(x)"],
)
def test_whichever_way_it_is_put_in_it_is_found(source: str) -> None:
    assert put_in(ast.parse(source, mode="eval").body) == {"x"}
