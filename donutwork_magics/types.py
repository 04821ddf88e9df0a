"""What may be asked of a call, by the names that users write: the types that all rooms share."""

from __future__ import annotations

from typing import Literal, TypeAlias

Http: TypeAlias = Literal["auto", "1.1", "2", "3"]
"""Which HTTP version may be spoken; ``auto`` leaves the choice to the server (ALPN, RFC 7301)."""

Family: TypeAlias = Literal["ipv4", "ipv6"]
"""Which addresses may be called."""

Env: TypeAlias = Literal["staging", "production"]
"""An environment of the API: each has a key of its own, and a reply says which one answered."""
