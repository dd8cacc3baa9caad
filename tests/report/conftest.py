"""Property tests run as in ``tests/unit``."""

from __future__ import annotations

import tests.unit.conftest  # noqa: F401 - registers and loads the profile
