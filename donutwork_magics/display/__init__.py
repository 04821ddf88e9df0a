"""How results look: cards as HTML and text, the live view of a series, the buttons of a call.

card    what a card is made of          html, text   its two renderings
calls   Ping, Connection                setup        overview and sandbox      run     a DataFrame of pings
run_notes, run_charts   what to know of a run, its charts            report  a run as a page
live    while a series runs             widget       buttons of a call         check   the steps of a check
chart   small charts as SVG             readings     rows as they come in      pages   a page that is loaded anew
watch_card, watch_panel   a watch
"""

from __future__ import annotations

from functools import singledispatch

from donutwork_magics.check_report import CheckReport
from donutwork_magics.client.results import Connection, Ping
from donutwork_magics.display.calls import connection_card, ping_card
from donutwork_magics.display.card import Card
from donutwork_magics.display.check import check_card
from donutwork_magics.display.html import to_html
from donutwork_magics.display.setup import overview_card, sandbox_card
from donutwork_magics.display.text import to_text
from donutwork_magics.displayed import Overview, SandboxStatus


@singledispatch
def card_of(value: object) -> Card:
    """Make the card of a value; other modules register their own types.

    Raises
    ------
    TypeError
        There is no card for its type.
    """
    raise TypeError(f"no card for a {type(value).__name__}")


card_of.register(Ping, ping_card)
card_of.register(Connection, connection_card)
card_of.register(Overview, overview_card)
card_of.register(SandboxStatus, sandbox_card)
card_of.register(CheckReport, check_card)


def mimebundle(value: object) -> dict[str, str]:
    """Render a value's card for Jupyter: ``text/plain`` and ``text/html``, with the same facts."""
    card = card_of(value)
    return {"text/plain": to_text(card), "text/html": to_html(card)}
