"""Contract checks that every catalog entry must pass. Shipped, so that plug-ins can run them; nobody imports it.

    from luban.checks import all_checks
    for check in all_checks(): check.run()          # or: pytest.mark.parametrize over them

A check raises AssertionError with what the contract asks. An entry that cannot meet one says why in its
class attribute `exempt = {"check name": "reason"}`.
"""

from __future__ import annotations

from luban.checks.base import Check, all_checks

__all__ = ["Check", "all_checks"]
