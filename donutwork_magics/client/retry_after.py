"""How long the server asked us to wait."""

from __future__ import annotations

import re
import time

from donutwork_magics.client.http_date import http_date_s

_SECONDS = re.compile(r"[0-9]{1,10}")


def retry_after_s(value: str | None) -> float | None:
    """Parse a Retry-After header (RFC 9110, section 10.2.3): whole seconds, or an HTTP-date.

    `float` would also take ``inf``, ``nan``, ``-3`` and ``1e9``: they are None here, as everything else.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    date_s = http_date_s(text)
    return None if date_s is None else max(0.0, date_s - time.time())
