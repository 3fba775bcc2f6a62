"""The README gives two set-up commands, and continuous integration runs the second as it stands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

BLOCK = re.compile(r"^<!-- set-up: (\w+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def commands(root: Path) -> list[tuple[str, str]]:
    """The marked blocks of README.md: name and text."""
    return BLOCK.findall((root / "README.md").read_text(encoding="utf-8"))


def test_the_readme_has_exactly_the_two_set_up_commands(commands: list[tuple[str, str]]) -> None:
    assert sorted(name for name, _ in commands) == ["run", "test"]


def test_each_set_up_command_is_one_line_in_its_own_environment(
    commands: list[tuple[str, str]],
) -> None:
    for _, text in commands:
        assert len(text.splitlines()) == 1
        # Some machines refuse `pip install` outside a virtual environment.
        assert "-m venv " in text


@pytest.mark.skipif(os.name == "nt", reason="the script is for bash")
def test_ci_runs_the_test_command_word_for_word_and_ends_with_its_exit_code(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_bytes((root / ".ci" / "run").read_bytes())
    (tmp_path / "README.md").write_text(
        "<!-- set-up: run -->\n```sh\nexit 3\n```\n\n<!-- set-up: test -->\n```sh\n"
        "echo '=== 2 passed in 0.1s ===' && pwd && exit 7\n```\n\n```sh\nexit 4\n```\n",
        encoding="utf-8",
    )
    done = subprocess.run(["bash", script], capture_output=True, text=True, timeout=30, check=False)
    summary = "=== 2 passed in 0.1s ==="
    assert done.stdout.splitlines() == [summary, str(tmp_path.resolve()), summary]
    assert done.returncode == 7
