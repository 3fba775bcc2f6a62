"""The documentation tells the truth: its code runs, and its tables are those of the code.

A block of ``python`` on a page is a whole program: it is run by itself in an empty directory, and a
block of ``text`` that follows it at once is its output. A block of ``pycon`` is a doctest.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import kalends
from kalends import children, errors, messages, model, settings
from kalends.actors.event_manager import EventManagerActor
from kalends.actors.execution_tracker import ExecutionTrackerActor
from kalends.actors.housekeeper import HousekeeperActor
from kalends.actors.loop import LoopActor
from kalends.actors.runtime import Actor
from kalends.explanation import Explanation, Standing
from kalends.notices import NoticeKind
from kalends.triggers import CauseKind
from kalends.verification import INVARIANTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
PROGRAM = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.M | re.S)
INCLUDED = re.compile(r'^--8<-- "(.*)"$', re.M)


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def table(name: str, *heads: str) -> list[list[str]]:
    """The cells of the one table of a page with these headings, code marks removed."""
    lines = page(name).splitlines()
    head = "| " + " | ".join(heads) + " |"
    assert lines.count(head) == 1, f"{name} has not one table {head}"
    rows = []
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.split("|")[1:-1]])
    return rows


# -- code --------------------------------------------------------------------------------------


def programs() -> Iterator[tuple[str, str, str]]:
    """Page and number, source and output of each program on the pages."""
    for name in PAGES:
        for number, (source, output) in enumerate(PROGRAM.findall(page(name)), start=1):
            if not INCLUDED.search(source):
                yield f"{name}-{number}", source, output


@pytest.mark.parametrize(
    ("source", "output"),
    [pytest.param(source, output, id=place) for place, source, output in programs()],
)
def test_a_program_on_a_page_prints_what_the_page_says(
    source: str, output: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output


@pytest.mark.usefixtures("logged")  # whatever a test before has left configured
@pytest.mark.parametrize("name", [name for name in PAGES if "```pycon" in page(name)])
def test_the_sessions_on_a_page_answer_what_the_page_says(name: str) -> None:
    sessions = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", page(name), re.M | re.S))
    test = doctest.DocTestParser().get_doctest(sessions, {}, name, name, 0)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert tried > 5
    assert failed == 0, "".join(said)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_no_code_but_what_is_run(name: str) -> None:
    fences = re.findall(r"^ *(?:```|~~~)(.*)$", page(name), re.M)
    assert set(fences[::2]) <= {"python", "pycon", "text", "sh"}
    assert set(fences[1::2]) <= {""}


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_includes_is_an_example(name: str) -> None:
    for included in INCLUDED.findall(page(name)):
        assert (ROOT / "examples" / included).is_file()


def test_every_page_has_one_place_in_the_navigation_and_one_in_the_index() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r": (\S+\.md)$", navigation, re.M)) == PAGES
    linked = re.findall(r"\]\((\S+?\.md)\)", page("index.md"))
    assert sorted([*linked, "index.md"]) == PAGES


def test_the_getting_started_page_lists_every_example() -> None:
    listed = [row[0] for row in table("getting-started.md", "file", "shows")]
    assert sorted(listed) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_the_first_example_of_the_readme_is_a_file_that_a_test_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)
    assert example == (ROOT / "examples" / "hello.py").read_text(encoding="utf-8")


def test_the_readme_and_the_architecture_page_show_one_picture() -> None:
    picture = re.compile(r"^```text\n( your program.*?)^```$", re.M | re.S)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert picture.findall(readme) == picture.findall(page("architecture.md"))


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_module_that_the_architecture_page_names_exists() -> None:
    package = Path(kalends.__file__).parent
    named = re.findall(r"`([\w/]+\.py)`", page("architecture.md"))
    assert len(named) > 20
    # services.py and database.py are the plan's; the examples are not installed.
    missing = {
        name for name in named if not (package / name).is_file() and not (ROOT / name).is_file()
    }
    assert missing == {"services.py", "database.py"}


# -- the ledger's words ------------------------------------------------------------------------


def test_the_life_of_an_execution_is_drawn_from_the_table_of_fates() -> None:
    lines = []
    for fate in model.Fate:
        following = [after for after in model.Fate if after in model.FATE_TRANSITIONS[fate]]
        if following:
            lines.append(f"{fate.value:<7} ──▶ {', '.join(following)}")
    ends = [fate for fate in model.Fate if not model.FATE_TRANSITIONS[fate]]
    drawn = "\n".join([*lines, f"{', '.join(ends)} ──▶ nothing"])
    assert f"```text\n{drawn}\n```" in page("architecture.md")


def test_the_life_of_an_event_is_drawn_from_the_table_of_statuses() -> None:
    statuses = list(model.EventStatus)
    drawn = [
        [verb, *(after.get(status, "") for status in statuses)]
        for verb, after in model.EVENT_TRANSITIONS.items()
    ]
    assert table("architecture.md", "change", *statuses) == drawn


def test_the_kinds_of_notices_are_those_there_are() -> None:
    rows = table("subscriptions.md", "kind", "says")
    assert [kind for kind, _ in rows] == [kind.value for kind in NoticeKind]


def test_the_ledger_page_explains_every_fate_reason_and_journal_kind() -> None:
    fates = [row[0] for row in table("ledger.md", "fate", "means")]
    assert fates == list(model.Fate)
    reasons = table("ledger.md", "reason", "an instant is skipped (or lost, or failed) because")
    assert {row[0] for row in reasons} == set(model.Reason)
    kinds = table("ledger.md", "kind", "says")
    assert {kind for row in kinds for kind in row[0].split(", ")} == set(model.JournalKind)


def test_the_page_on_explaining_has_every_standing_and_field() -> None:
    standings = [row[0] for row in table("explain.md", "standing", "means")]
    assert standings == [standing.value for standing in Standing]
    told = " ".join(row[0] for row in table("explain.md", "field", "holds"))
    fields = set(Explanation.__struct_fields__) - {"sentences"}
    assert {field for field in fields if field not in told} == {
        "event_id", "event_name", "event_status", "instant",
    }  # fmt: skip


def test_the_ledger_page_has_every_policy_with_its_default_and_choices() -> None:
    rows = {row[0]: row[1:] for row in table("ledger.md", "keyword", "default", "says")}
    defaults = msgspec.structs.asdict(kalends.Policies())
    times = {key: value for key, value in defaults.items() if isinstance(value, float)}
    del times["retry_jitter"]  # a fraction
    shown = {key: f"{value:g} s" for key, value in times.items()}
    assert {key: row[0] for key, row in rows.items()} == {
        key: shown.get(key, str(value)) for key, value in defaults.items()
    }
    for kind, keyword in (
        (kalends.CatchUp, "catch_up"),
        (kalends.Overlap, "overlap"),
        (kalends.RetryBackoff, "retry_backoff"),
    ):
        said = rows[keyword][1]
        assert [choice for choice in kind if f"{choice.value}:" not in said] == []


def test_the_verify_page_has_every_kind_of_violation_with_its_invariant() -> None:
    rows = table("verify.md", "kind", "invariant", "says")
    expected = [
        [kind.value, "" if number is None else str(number)]
        for kind, number in ((kind, INVARIANTS[kind]) for kind in kalends.ViolationKind)
    ]
    assert [row[:2] for row in rows] == expected


def test_the_outlook_page_has_every_cause_of_what_is_overdue() -> None:
    rows = table("outlook.md", "cause", "means", "look at")
    assert [row[0] for row in rows] == list(kalends.OverdueCause)


# -- settings, errors, messages, log -----------------------------------------------------------


def test_the_settings_page_has_every_setting_with_its_default_and_range() -> None:
    expected = []
    for field in msgspec.structs.fields(kalends.Settings):
        default = getattr(kalends.Settings(), field.name)
        struct = isinstance(default, msgspec.Struct)
        shown = f"{type(default).__name__}()" if struct else repr(default)
        low, high = settings._RANGES.get(field.name, (None, None))
        limits = "" if low is None else f"{low:.12g} to {high:.12g}"
        if field.name == "durability":
            limits = "full, normal"
        expected.append([field.name, shown, limits])
    rows = table("settings.md", "name", "default", "range", "says")
    assert [row[:3] for row in rows] == expected
    assert all(row[3] for row in rows)


def test_a_default_that_is_named_in_prose_is_the_default() -> None:
    defaults = {
        **msgspec.structs.asdict(kalends.Policies()),
        **msgspec.structs.asdict(kalends.Settings()),
    }
    named = re.compile(r"`([a-z_]+)` (?:seconds )?\(([0-9][0-9,.]*)( s| days)?\)")
    found = 0
    for file in sorted(DOCS.glob("**/*.md")):
        for name, number, unit in named.findall(file.read_text(encoding="utf-8")):
            if name in defaults:
                default = float(number.replace(",", "")) * (86_400 if unit == " days" else 1)
                assert default == defaults[name], (file.name, name)
                found += 1
    assert found > 8


def test_the_architecture_page_has_every_refusal_with_its_code() -> None:
    public = [getattr(errors, name) for name in errors.__all__]
    classes = [
        kind for kind in public if inspect.isclass(kind) and issubclass(kind, errors.KalendsError)
    ]
    expected = {(kind.code, kind.__name__) for kind in classes}
    rows = table("architecture.md", "code", "class", "means")
    assert {(code, name) for code, name, _ in rows} == expected
    assert len(rows) == len(expected) == len({code for code, _ in expected})


def test_the_architecture_page_has_every_message_and_who_handles_it() -> None:
    actors: dict[str, type[Actor]] = {
        "event manager": EventManagerActor,
        "execution tracker": ExecutionTrackerActor,
        "loop": LoopActor,
        "housekeeper": HousekeeperActor,
    }
    handled = {(kind.__name__, who) for who, actor in actors.items() for kind in actor._handlers}
    rows = table("architecture.md", "message", "to", "from", "answer")
    assert {(message, to) for message, to, _, _ in rows} == handled
    every = {
        name
        for name, kind in inspect.getmembers(messages, inspect.isclass)
        if issubclass(kind, messages.Message) and kind is not messages.Message
    }
    assert {message for message, _ in handled} == every


def logged() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, level and keys of every event that the package logs."""
    package = Path(kalends.__file__).parent
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in ("tests", "examples", "docs", "benchmarks"):
            continue  # where the package is imported from a checkout
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            receiver, method = ast.unparse(node.func.value), node.func.attr
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                continue
            keys = {keyword.arg or "**" for keyword in node.keywords} - {"exc_info"}
            if receiver == "_log":
                yield first.value, method, frozenset(keys)
            elif method == "tell" and receiver.split(".")[-1] in ("self", "_keeper"):
                keys |= {"supervisor"} | ({"actor"} if len(node.args) > 1 else set())
                yield first.value, children._LEVELS.get(first.value, "info"), frozenset(keys)


def test_the_logging_page_has_every_event_with_its_level_and_keys() -> None:
    found = set(logged())
    assert len(found) > 30
    rows = table("logging.md", "event", "level", "keys", "says")
    listed = {
        (event, level, frozenset(filter(None, keys.split(", ")))) for event, level, keys, _ in rows
    }
    assert listed == found
    assert len(rows) == len(listed)


def test_the_triggers_page_has_every_kind_of_cause() -> None:
    rows = table("triggers.md", "kind", "the cause is")
    assert [row[0] for row in rows] == list(CauseKind)


# -- the API -----------------------------------------------------------------------------------


def test_every_public_name_is_on_the_api_page() -> None:
    api = page("api.md")
    assert [
        name for name in kalends.__all__ if not re.search(rf"kalends\.{name}$", api, re.M)
    ] == []


def test_every_public_name_has_a_docstring() -> None:
    silent = [name for name in kalends.__all__ if not inspect.getdoc(getattr(kalends, name))]
    assert silent == []


def test_the_jobs_page_has_everything_that_a_job_can_know() -> None:
    rows = table("jobs.md", "attribute", "is")
    named = {name for row in rows for name in row[0].split(", ")}
    known = {name for name in dir(kalends.ExecutionContext) if not name.startswith("_")}
    assert named == known


def test_the_housekeeping_page_has_every_field_of_a_file_rule() -> None:
    named = [row[0] for row in table("housekeeping.md", "field", "means")]
    assert named == [field.name for field in msgspec.structs.fields(kalends.CleanupRule)]
