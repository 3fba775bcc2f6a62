"""The mutants of a text are those that its operators say, and each changes one thing alone."""

from __future__ import annotations

import ast
import difflib

import pytest
from tests.mutation.mutants import mutants_of, sample

from kalends import planning


def _names(source: str) -> list[str]:
    return [mutant.name.removeprefix("module: ") for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a < b", ["without a < b", "⟨a < b → (a <= b)⟩"]),
        ("x = a >= b", ["x = ⟨a >= b → (a > b)⟩"]),
        ("x = a == b", ["x = ⟨a == b → (a != b)⟩"]),
        ("x = a is None", ["x = ⟨a is None → (a is not None)⟩"]),
        ("x = a in b", ["x = ⟨a in b → (a not in b)⟩"]),
        ("x = a and b", ["x = ⟨a and b → (a or b)⟩"]),
        ("x = not a", ["x = ⟨not a → a⟩"]),
        ("x = a + b", ["x = ⟨a + b → (a - b)⟩"]),
        ("x = 3", ["x = ⟨3 → 4⟩"]),
        ("x = True", ["x = ⟨True → False⟩"]),
        ("x = min(a)", ["x = ⟨min → max⟩(a)"]),
        ("x = a[b:]", ["x = ⟨a[b:] → a[b + 1:]⟩"]),
        ("x = a.is_null()", ["x = ⟨a.is_null() → a.is_null(False)⟩"]),
        ("if a:\n    b = c", ["if ⟨a → (not a)⟩:"]),
        ("while a < 3:\n    b = c", ["while ⟨a < 3 → (a <= 3)⟩:", "while ⟨a < 3 → (not (a < 3))⟩:",
                                   "while a < ⟨3 → 4⟩:"]),
        ("a.b = c", ["without a.b = c"]),
        ("a += b", ["without a += b"]),
        ("f()", ["without f()"]),
        ("del a[b]", ["without del a[b]"]),
        ("x = 'SELECT a WHERE b < c'", ["x = 'SELECT a WHERE b⟨ <  →  <= ⟩c'"]),
        ("x = 'a < b'", []),
    ],
)  # fmt: skip
def test_each_place_where_an_operator_applies_makes_a_mutant(source: str, names: list[str]) -> None:
    assert _names(f"{source}\n") == names


@pytest.mark.parametrize(
    "source",
    [
        '"""It is < 3."""',
        "__all__ = ['a', 1]",
        "assert a < 3",
        "x: Literal[3]",
        "@d(3)\nclass A(B, frozen=True):\n    pass",
        "if TYPE_CHECKING:\n    x = 3",
        "def f(a: A[3]) -> A[4]: ...",
        "x = y",
    ],
)
def test_what_no_test_is_to_hold_makes_none(source: str) -> None:
    assert _names(f"{source}\n") == []


def test_the_words_of_an_error_are_left_and_that_it_is_raised_is_not() -> None:
    source = "def f():\n    raise Wrong(f'{a + 1}', path=a[3])\n"
    assert _names(source) == ["f: without raise Wrong(f'{a + 1}', path=a[3])"]


def test_names_say_where_a_mutant_is_and_tell_equal_ones_apart() -> None:
    source = "class A:\n    def f(self):\n        return a + b, a + b\n"
    assert _names(source) == [
        "A.f: return a + b, a + b → return None",
        "A.f: return ⟨a + b → (a - b)⟩, a + b",
        "A.f: return a + b, ⟨a + b → (a - b)⟩",
    ]
    assert _names("f(a)\nf(a)\n") == ["without f(a)", "without f(a) (#2)"]


def test_defaults_run_with_the_import_and_what_is_inside_of_a_function_does_not() -> None:
    outer, inner = mutants_of("def f(a=3):\n    a.b = c\n    return\n")[:2]
    assert (outer.in_function, inner.in_function) == (False, True)
    assert (outer.asked, inner.asked) == (range(2, 4), range(2, 3))
    assert mutants_of("x = 3\n")[0].asked is None


def test_each_mutant_of_a_module_can_be_read_and_differs_in_one_place() -> None:
    path = planning.__file__
    with open(path, encoding="utf-8") as file:
        source = file.read()
    mutants = mutants_of(source)
    assert len(mutants) > 100
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        ast.parse(mutant.source)
        matcher = difflib.SequenceMatcher(
            None, source.splitlines(), mutant.source.splitlines(), autojunk=False
        )
        changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        assert len(changed) == 1
        _, first, last, _, _ = changed[0]
        assert mutant.line <= first + 1
        assert last <= mutant.last_line


def test_a_sample_is_that_of_its_seed_and_a_larger_one_has_it_in_it() -> None:
    mutants = mutants_of("".join(f"x = {number}\n" for number in range(100)))
    small, large = sample(mutants, 10, "1"), sample(mutants, 30, "1")
    assert len(small) == 10
    assert set(small) < set(large) < set(sample(mutants, None, "1")) == set(mutants)
    assert small == sample(mutants, 10, "1") != sample(mutants, 10, "2")
