"""Reasons that people give: codes, because the ledger keeps them for ever."""

from __future__ import annotations

import re
from typing import Final

from expunge.core.errors import InputError

_CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


def check_reason(reason: str) -> None:
    """See that a reason is a code.

    Raises:
        InputError: It is not.
    """
    if not _CODE.fullmatch(reason):
        raise InputError(
            "`reason` stands in the ledger for ever: give a code of small letters, digits and "
            "hyphens, such as 'identity-not-shown', and nothing about a person."
        )
