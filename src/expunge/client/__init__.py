"""The Python client of the REST service. Importing it needs httpx and nothing else."""

from __future__ import annotations

from expunge.client.client import FINAL, Client
from expunge.client.problems import ServerProblem, ServerUnreachable, StillOpen
from expunge.client.sending import Terms
from expunge.client.transport import Patience

__all__ = [
    "FINAL",
    "Client",
    "Patience",
    "ServerProblem",
    "ServerUnreachable",
    "StillOpen",
    "Terms",
]
