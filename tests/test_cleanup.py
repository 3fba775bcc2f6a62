"""What a clean-up rule may say, and which files it chooses. No disk is changed here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.cleanup import CleanupRule, Doomed, FileInfo, Reason, select
from kalends.errors import ValidationFailed

NOW_S = 1_900_000_000
NOW_US = NOW_S * 1_000_000
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")


def rule(**values: object) -> CleanupRule:
    given_: dict[str, object] = {
        "name": "old",
        "directory": os.path.abspath("/data/x"),
        "pattern": "*",
    }
    return CleanupRule.checked(**(given_ | values))


def file(path: str, age_s: float = 0, size: int = 10, inode: int | None = None) -> FileInfo:
    modified = round((NOW_S - age_s) * 1e6) * 1000
    return FileInfo(path, size, modified, 1, hash(path) if inode is None else inode)


def chosen(files: list[FileInfo], **values: object) -> list[tuple[str, str]]:
    return [(d.file.path, d.reason) for d in select(files, rule(**values), NOW_US)]


# ------------------------------------------------------------------------------------- the refusals
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "two\nlines"),
        ("name", "x" * 101),
        ("name", 7),
        ("directory", "relative/dir"),
        ("directory", "~/backups"),
        ("directory", ""),
        ("directory", None),
        ("directory", b"/data"),
        ("directory", "/data/\0"),
        ("directory", "/data/\udcff"),
        ("directory", "/" + "x" * 5000),
        ("pattern", ""),
        ("pattern", "sub/*.log"),
        ("pattern", "..\\*"),
        ("pattern", ".."),
        ("pattern", "a\0b"),
        ("pattern", "x" * 256),
        ("pattern", ["*"]),
        ("older_than", -1),
        ("older_than", True),
        ("older_than", float("nan")),
        ("older_than", float("inf")),
        ("older_than", 1e300),
        ("older_than", "3 days"),
        ("keep_last", -1),
        ("keep_last", True),
        ("keep_last", 2.0),
        pytest.param("keep_last", 10**5000, id="more digits than Python prints"),
        ("max_total_bytes", -1),
        ("max_total_bytes", False),
        ("max_total_bytes", 2**63),
        ("max_total_bytes", "1G"),
        ("recursive", 1),
        ("dry_run", "yes"),
        ("dry_run", None),
    ],
)
def test_a_wrong_value_is_refused_and_named(field: str, value: object) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        rule(**({"older_than": 1} | {field: value}))
    assert refusal.value.details == {"path": field}


@POSIX
@pytest.mark.parametrize(
    "text", ["/", "//", "///", "/.", "//./", "/data/..", "/data/../etc", "/.."]
)
def test_the_root_and_dots_are_refused_however_they_are_written(text: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        rule(directory=text, older_than=1)
    assert refusal.value.details == {"path": "directory"}


@POSIX
def test_home_and_what_is_above_it_are_refused_and_what_is_below_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "people" / "ann"
    (home / "backups").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "people")
    monkeypatch.setenv("HOME", str(tmp_path / "way" / "ann"))  # home by way of a link
    for place in (home, home.parent, tmp_path, tmp_path.parent, tmp_path / "way" / "ann"):
        with pytest.raises(ValidationFailed, match="home directory"):
            rule(directory=str(place), older_than=1)
    assert rule(directory=f"{home}/backups", older_than=1).directory == str(home / "backups")


@POSIX
def test_the_home_directory_of_the_account_counts_even_when_the_environment_says_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    account = pwd.getpwuid(os.getuid()).pw_dir
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValidationFailed, match="must not be"):
        rule(directory=account, older_than=1)


def test_a_rule_without_a_criterion_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="has to be given"):
        rule()


@pytest.mark.parametrize("field", ["name", "directory", "pattern"])
def test_a_missing_field_is_named(field: str) -> None:
    values: dict[str, object] = {
        "name": "n",
        "directory": "/data/x",
        "pattern": "*",
        "keep_last": 1,
    }
    del values[field]
    with pytest.raises(ValidationFailed, match="is missing") as refusal:
        CleanupRule.checked(**values)
    assert refusal.value.details == {"path": field}


def test_an_unknown_field_suggests_the_near_one() -> None:
    with pytest.raises(ValidationFailed, match=r"did you mean 'older_than'\?"):
        rule(olderthan=5)


@POSIX
def test_a_linked_directory_is_refused_and_a_link_above_it_is_resolved(tmp_path: Path) -> None:
    real = tmp_path.resolve() / "real"
    (real / "logs").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(real)
    with pytest.raises(ValidationFailed, match="symbolic link"):
        rule(directory=str(link), older_than=1)
    assert rule(directory=f"{link}/logs", older_than=1).directory == str(real / "logs")


@POSIX
def test_a_link_above_cannot_lead_to_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people" / "ann").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "people")
    monkeypatch.setenv("HOME", str(tmp_path / "people" / "ann"))
    with pytest.raises(ValidationFailed, match="home directory"):
        rule(directory=str(tmp_path / "link" / "ann"), older_than=1)


def test_a_rule_is_plain_json() -> None:
    made = rule(older_than=3, keep_last=2, max_total_bytes=0, recursive=True, dry_run=True)
    assert msgspec.json.decode(msgspec.json.encode(made), type=CleanupRule) == made


# ------------------------------------------------------------------------------------- the decision
def test_older_than_removes_what_is_older_oldest_first_and_not_what_is_just_as_old() -> None:
    files = [file("new", 9.999999), file("edge", 10), file("old", 10.000001), file("ancient", 99)]
    assert chosen(files, older_than=10) == [("ancient", "older_than"), ("old", "older_than")]


def test_a_file_from_the_future_is_young() -> None:
    assert chosen([file("tomorrow", -86_400)], older_than=0) == []


def test_keep_last_alone_removes_everything_outside_the_newest() -> None:
    files = [file("a", 1), file("b", 2), file("c", 3), file("d", 4)]
    assert chosen(files, keep_last=2) == [("d", "keep_last"), ("c", "keep_last")]


def test_keep_last_protects_the_newest_from_age() -> None:
    files = [file("a", 100), file("b", 200), file("c", 300)]
    assert chosen(files, keep_last=2, older_than=50) == [("c", "older_than")]


def test_with_an_age_given_a_young_file_stays_though_it_is_outside_the_newest() -> None:
    assert chosen([file("a", 1), file("b", 2), file("c", 99)], keep_last=1, older_than=50) == [
        ("c", "older_than")
    ]


def test_total_size_removes_the_oldest_until_the_rest_fits() -> None:
    files = [file("a", 1, 40), file("b", 2, 40), file("c", 3, 40), file("d", 4, 40)]
    assert chosen(files, max_total_bytes=80) == [("d", "total_size"), ("c", "total_size")]
    assert chosen(files, max_total_bytes=79) == [
        ("d", "total_size"),
        ("c", "total_size"),
        ("b", "total_size"),
    ]


def test_total_size_counts_the_newest_and_never_removes_them() -> None:
    files = [file("a", 1, 500), file("b", 2, 500), file("c", 3, 1)]
    assert chosen(files, keep_last=2, max_total_bytes=10) == [("c", "total_size")]


def test_total_size_counts_only_what_age_has_left() -> None:
    files = [file("a", 1, 40), file("b", 2, 40), file("c", 99, 400)]
    assert chosen(files, older_than=50, max_total_bytes=80) == [("c", "older_than")]


def test_several_names_of_one_file_count_once_in_the_total() -> None:
    files = [file("a", 1, 60), file("x", 5, 40, inode=7), file("y", 5, 40, inode=7)]
    assert chosen(files, max_total_bytes=100) == []
    # The first name frees nothing, so the second has to follow.
    assert [path for path, _ in chosen(files, max_total_bytes=99)] == ["x", "y"]


def test_equal_times_are_ordered_by_path() -> None:
    files = [file("b-2", 5), file("b-3", 5), file("b-1", 5)]
    assert chosen(files, keep_last=1) == [("b-1", "keep_last"), ("b-2", "keep_last")]


def test_the_pattern_sees_the_name_and_not_the_folder() -> None:
    files = [file("logs/a.txt", 99), file("a.log", 98), file("deep/er/b.log", 97)]
    assert [p for p, _ in chosen(files, pattern="*.log", older_than=1)] == [
        "a.log",
        "deep/er/b.log",
    ]
    assert chosen(files, pattern="logs*", older_than=1) == []


def test_files_that_do_not_match_use_up_no_place_among_the_newest() -> None:
    files = [file("new.txt", 1), file("a.log", 2), file("b.log", 3)]
    assert chosen(files, pattern="*.log", keep_last=1) == [("b.log", "keep_last")]


def reference(files: list[FileInfo], made: CleanupRule) -> dict[str, Reason]:
    """The rule said slowly, one file at a time."""
    newest_first = sorted(files, key=lambda f: (f.modified_ns, f.path), reverse=True)
    guarded = newest_first[: made.keep_last or 0]
    fates: dict[str, Reason] = {}
    for each in files:
        if each in guarded:
            continue
        age_us = NOW_US - each.modified_ns // 1000
        if made.older_than is not None and age_us > made.older_than * 1_000_000:
            fates[each.path] = "older_than"
        elif made.older_than is None and made.max_total_bytes is None:
            fates[each.path] = "keep_last"
    if made.max_total_bytes is not None:
        for each in reversed(newest_first):
            left = {f.identity: f.size for f in files if f.path not in fates}
            if sum(left.values()) > made.max_total_bytes and each not in guarded:
                fates.setdefault(each.path, "total_size")
    return fates


FILES = st.lists(
    st.builds(
        file,
        path=st.text("abcdef", min_size=1, max_size=3),
        age_s=st.integers(-3, 12),
        size=st.integers(0, 30),
    ),
    unique_by=lambda f: f.path,
    max_size=14,
)


@st.composite
def rules(draw: st.DrawFn) -> CleanupRule:
    criteria = {
        "older_than": draw(st.none() | st.integers(0, 10)),
        "keep_last": draw(st.none() | st.integers(0, 6)),
        "max_total_bytes": draw(st.none() | st.integers(0, 150)),
    }
    if all(value is None for value in criteria.values()):
        criteria["keep_last"] = 1
    return rule(**criteria)


@given(FILES, rules())
def test_select_agrees_with_the_rule_said_slowly(files: list[FileInfo], made: CleanupRule) -> None:
    doomed = select(files, made, NOW_US)
    assert {d.file.path: d.reason for d in doomed} == reference(files, made)
    times = [(d.file.modified_ns, d.file.path) for d in doomed]
    assert times == sorted(times)


@given(FILES, rules(), st.data())
def test_what_is_chosen_from_a_part_is_chosen_from_the_whole(
    files: list[FileInfo], made: CleanupRule, data: st.DataObject
) -> None:
    part = [each for each in files if data.draw(st.booleans())]
    whole = {d.file.path for d in select(files, made, NOW_US)}
    assert {d.file.path for d in select(part, made, NOW_US)} <= whole


def test_a_second_run_over_what_is_left_chooses_nothing() -> None:
    files = [file(f"f{i}", i, 10 * i) for i in range(10)]
    made = rule(older_than=7, keep_last=2, max_total_bytes=60)
    doomed = {d.file for d in select(files, made, NOW_US)}
    assert doomed
    assert select([f for f in files if f not in doomed], made, NOW_US) == []


def test_doomed_says_which_file_and_why() -> None:
    only = file("a", 99)
    assert select([only], rule(older_than=1), NOW_US) == [Doomed(only, "older_than")]
