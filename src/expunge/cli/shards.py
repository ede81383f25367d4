"""A model's shards in one line of blocks: how deep each is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_STEPS: Final = "▁▂▃▄▅▆▇"
_SHOWN: Final = 64


def blocks(shards: Sequence[Mapping[str, Any]]) -> str:
    """One block for each shard: full where it is whole, lower where slices are missing.

    >>> blocks([{"slices": 4, "whole": True}, {"slices": 2, "whole": False}])
    '█▄'
    >>> blocks([{"slices": 0, "whole": False}])
    '·'
    """
    deepest = max((shard["slices"] for shard in shards), default=0)
    drawn = "".join(_block(shard, deepest) for shard in shards[:_SHOWN])
    return drawn + ("…" if len(shards) > _SHOWN else "")


def _block(shard: Mapping[str, Any], deepest: int) -> str:
    if shard["whole"]:
        return "█" if shard["slices"] else " "
    if not shard["slices"]:
        return "·"
    # Below full, however little is missing.
    return _STEPS[min(len(_STEPS) - 1, shard["slices"] * len(_STEPS) // max(deepest, 1))]
