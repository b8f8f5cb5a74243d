"""Every catalog entry passes every contract check of its kind."""

from __future__ import annotations

import pytest

from luban.checks import Check, all_checks


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.id)
def test_contract(check: Check) -> None:
    if check.exempt:
        pytest.skip(check.exempt)
    check.run()
