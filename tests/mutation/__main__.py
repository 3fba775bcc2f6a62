"""The mutation run's command: ``python -P tests/mutation [MODULE ...] [--sample N] [--seed S]``.

See ``docs/mutation.md`` for what it does, and ``--help`` for what it can be told.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

# The checkout stays out of sys.path, for its modules would appear there as top-level names: only
# its tests can be imported, as they can under pytest.
_TESTS = types.ModuleType("tests")
_TESTS.__path__ = [str(Path(__file__).resolve().parents[1])]
sys.modules["tests"] = _TESTS

if __name__ == "__main__":
    from tests.mutation.run import main

    sys.exit(main())
