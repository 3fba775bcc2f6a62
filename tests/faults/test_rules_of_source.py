"""Rules of security that hold for the source as a whole: what no module may do, anywhere.

They are read from the syntax of the installed package, so that a new module keeps to them or fails.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

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


KNOWN = {
    ("storage/postgres/dialect.py", "f'LISTEN \"{self._channel}\"'.encode()"),
    ("storage/postgres/dialect.py", "self._session(read_only).encode()"),
    ("storage/postgres/dialect.py", "statement.encode()"),
    ("storage/postgres/dialect.py", "self._commit"),
    ("storage/migrations.py", "statement"),
    ("storage/migrations.py", "statement + options"),
    ("storage/postgres/dialect.py", "sql"),
    ("storage/postgres/schema.py", "f'CREATE SCHEMA {address.schema}'"),
    ("storage/postgres/schema.py", "sql"),
    ("storage/prepared.py", "sql"),
    ("storage/sqlite.py", "f'PRAGMA synchronous={level}; PRAGMA temp_store={temporary}'"),
    ("storage/sqlite.py", "f'PRAGMA user_version={migrations.SCHEMA}; COMMIT'"),
    ("storage/sqlite.py", "sql"),
    (
        "storage/sqlite_file.py",
        "f'PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={migrations.SCHEMA};"
        "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE'",
    ),
}
"""Statements that are no constants, and were looked at: none holds a value from outside but the
name of a PostgreSQL schema, which is checked to be a plain name."""


def test_statements_are_put_together_from_constants_alone() -> None:
    """Values travel beside a statement and never in it."""
    found = set()
    for name, tree in SHIPPED.items():
        for function, call in called(tree):
            if function in {"execute", "executemany", "execute_sql", "SQL", "RawQuery", "raw"}:
                if not call.args or isinstance(call.args[0], ast.Constant):
                    continue
                text = ast.unparse(call.args[0])
                if text in {"db", "self._db", "work.db", "self.db"}:
                    continue  # a query of Peewee's, which binds its values itself
                found.add((name, text))
    assert found == KNOWN
