"""What a mutation run said, and what was made of it: two files beside the page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from tests.mutation.trial import ROOT

__all__ = ["JUDGEMENTS", "RESULTS", "Judgement", "Judgements", "Measured", "Results", "problems"]

RESULTS = ROOT / "docs" / "mutation" / "results.json"
JUDGEMENTS = ROOT / "docs" / "mutation" / "judgements.json"


class Measured(msgspec.Struct):
    """One module."""

    mutants: int
    """How many there are."""
    tried: int
    killed: int
    timed_out: list[str] = []
    survived: list[str] = []
    killed_since: list[str] = []
    """They survived once, and tests were written that kill them."""


class Results(msgspec.Struct):
    """All modules, each as it was last measured."""

    date: str
    versions: str
    seed: int
    note: str
    """What is to be said of how they were measured."""
    modules: dict[str, Measured]


class Judgement(msgspec.Struct, frozen=True):
    """What a person made of a survivor."""

    kind: Literal["equivalent", "harmless", "gap"]
    """It does the same; what it does otherwise is no promise; or a test is missing."""
    why: str


Judgements = dict[str, dict[str, Judgement]]
"""By module and mutant."""


def problems(results: Results, judgements: Judgements) -> list[str]:
    """Where the numbers do not add up, and where a survivor has no judgement."""
    found = []
    for module, measured in results.modules.items():
        fates = [measured.timed_out, measured.survived, measured.killed_since]
        if measured.tried != measured.killed + sum(map(len, fates)):
            found.append(f"{module}: the fates are not {measured.tried}")
        judged = judgements.get(module, {})
        found += [
            f"{module}: {name} is not judged" for name in measured.survived if name not in judged
        ]
    for module, judged in judgements.items():
        survived = results.modules[module].survived if module in results.modules else []
        found += [f"{module}: {name} has not survived" for name in judged if name not in survived]
    return found


def read_results(path: Path) -> Results | None:
    """What is kept there; None where nothing is."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else None


def read_judgements(path: Path) -> Judgements:
    """What is kept there; nothing where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Judgements) if path.exists() else {}


def write(path: Path, value: Results | Judgements) -> None:
    """Keep it, with its modules in order."""
    if isinstance(value, Results):
        value.modules = dict(sorted(value.modules.items()))
    text = msgspec.json.format(msgspec.json.encode(value), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + b"\n")
