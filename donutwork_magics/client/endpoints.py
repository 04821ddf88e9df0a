"""The two documented endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

API_VERSION: Final = "2026-02-01"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One documented endpoint and the permission that a key needs for it."""

    path: str
    permission: str
    permission_constant: str


PING: Final = Endpoint(f"/{API_VERSION}/ping.json", "ping:read", "ApiAccessPermission::PING_READ")
CONNECTION: Final = Endpoint(
    f"/{API_VERSION}/connection.json", "connection:read", "ApiAccessPermission::CONNECTION_READ"
)
