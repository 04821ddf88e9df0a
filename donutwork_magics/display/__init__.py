"""How results look: cards as HTML and text, the live view of a series, the buttons of a call, the panel of a watch.

card        what a card is made of           html, text   its two renderings      chart    small charts as SVG
cards, run  from a value to its card         run_charts   the charts of a run     report   a run as a page
readings    rows as they come in             live         while a series runs
watch_card  the card of a watch              widgets      its panel, and the buttons of a call
"""

from __future__ import annotations

import sys

from donutwork_magics.display.cards import card_of
from donutwork_magics.display.html import to_html
from donutwork_magics.display.text import to_text
from donutwork_magics.units import printable


def mimebundle(value: object) -> dict[str, str]:
    """Render a value's card for Jupyter: ``text/plain`` and ``text/html``, with the same facts."""
    card = card_of(value)
    return {"text/plain": printable(to_text(card), sys.stdout), "text/html": to_html(card)}
