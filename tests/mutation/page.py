"""The page on the mutation run, made from what it said and what was made of it."""

from __future__ import annotations

from tests.mutation.results import (
    JUDGEMENTS,
    RESULTS,
    Judgements,
    Measured,
    Results,
    read_judgements,
    read_results,
)
from tests.mutation.trial import ROOT

__all__ = ["PAGE", "page", "write_page"]

PAGE = ROOT / "docs" / "mutation.md"
_KINDS = {
    "equivalent": "it does the same as the program",
    "harmless": "it differs, in nothing that is promised: words, speed, a figure without meaning",
    "gap": "a test is missing",
}
_TOP = """\
# Can the tests fail?

A test is worth what it can find. So small faults are put into the modules that decide, one at a
time: a bound is moved by one; a comparison, an `and`, a `not` or a sign is turned round; a number,
a truth value or an end of a slice is changed; a statement is left out; a function returns nothing;
a word of an SQL statement is another. Each such mutant is run with the tests that run its lines.
Where one fails, or hangs, the mutant is killed. Where all pass, it has survived, and somebody has
to say why that is so. Annotations, decorators, docstrings, assertions and the words of errors and
of log lines are left alone.

This page is made by the run, from [results.json](mutation/results.json) and
[judgements.json](mutation/judgements.json), and a test holds it to them.

## Do it again

```sh
tox -e mutation                                             # all of it: hours
tox -e mutation -- planning.py storage/claims.py            # these modules
tox -e mutation -- --sample 50 --seed 7 triggers/zoned.py   # so many mutants; 0: all
tox -e mutation -- --survivors                              # those that are left
```

It needs Linux. First it finds out, by one run of the tests under coverage, which tests run which
line. Then each mutant has a process of its own, forked from one that has collected the tests. In it
run those tests of the module's own files that run the line, and others that do, the fastest first,
for `--budget` seconds at most of others, and twice as long of its own. What survives runs again
with everything imported anew. Only the tests of these modules are asked, which ought to do by
themselves: those of the scheduler as a whole, the model of it, the fault injection, the kill loop
and the tests of hosts would find more. Of a module that is not tried whole the mutants are drawn by
the seed {seed}; a larger sample has the smaller one in it. [Why this is a program of our
own](design/decisions.md) is among the decisions.

## What it said

{date}, {versions}. {note} *Killed since*: it survived, and a test was written that kills it, or it
was run with more of the tests.

"""


def page(results: Results, judgements: Judgements) -> str:
    """The text of the page."""
    top = _TOP.format(
        seed=results.seed, date=results.date, versions=results.versions, note=results.note
    )
    return "\n".join([top + _table(results), _survivors(results, judgements)])


def write_page() -> None:
    """Make the page from the files that are kept."""
    results = read_results(RESULTS)
    if results is not None:
        PAGE.write_text(page(results, read_judgements(JUDGEMENTS)), encoding="utf-8")


def _table(results: Results) -> str:
    rows = [
        "| module | mutants | tried | killed | hung | killed since | survived |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_row(f"`{name}`", measured) for name, measured in results.modules.items()]
    total = Measured(0, 0, 0)
    for measured in results.modules.values():
        total.mutants += measured.mutants
        total.tried += measured.tried
        total.killed += measured.killed
        total.timed_out = total.timed_out + measured.timed_out
        total.survived = total.survived + measured.survived
        total.killed_since = total.killed_since + measured.killed_since
    rows.append(_row("all", total))
    return "\n".join(rows) + "\n"


def _row(name: str, measured: Measured) -> str:
    figures = (
        measured.mutants,
        measured.tried,
        measured.killed,
        len(measured.timed_out),
        len(measured.killed_since),
        len(measured.survived),
    )
    return f"| {name} | " + " | ".join(map(str, figures)) + " |"


def _survivors(results: Results, judgements: Judgements) -> str:
    lines = ["## Those that survive", ""]
    lines += ["Each is judged:", ""]
    lines += [f"- {kind}: {meaning}" for kind, meaning in _KINDS.items()]
    for module, measured in results.modules.items():
        if not measured.survived:
            continue
        lines += ["", f"### {module}", ""]
        for name in measured.survived:
            judged = judgements.get(module, {}).get(name)
            said = f"**{judged.kind}**: {judged.why}" if judged else "not judged yet"
            lines.append(f"- {_code(name)}: {said}")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    marks = "``" if "`" in text else "`"
    return f"{marks}{text}{marks}"
