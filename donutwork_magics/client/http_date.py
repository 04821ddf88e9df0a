"""A date as HTTP headers have it (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def http_date_s(text: str) -> float | None:
    """Parse an HTTP-date to seconds since the epoch; None for everything else, the two obsolete forms too."""
    if not _HTTP_DATE.fullmatch(text):
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
