"""How long the server asked us to wait."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,10}")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def retry_after_s(value: str | None) -> float | None:
    """Parse a Retry-After header (RFC 9110, section 10.2.3): whole seconds, or an HTTP-date.

    `float` would also take ``inf``, ``nan``, ``-3`` and ``1e9``: they are None here, as everything else.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if _HTTP_DATE.fullmatch(text):
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return None
    return None
