"""A widget that notices when a page is loaded anew: such a page takes no updates of the outputs that it came with."""

from __future__ import annotations

from typing import Any

from ipywidgets import VBox


class Box(VBox):  # type: ignore[misc]
    """A vertical box that knows whether a page has asked for it after it was made.

    A front end that opens a page asks the kernel for the whole state of each widget that is there already. So does one
    that had lost its connection; and a second page of the same notebook.

    Attributes
    ----------
    loaded_anew : bool
        Whether some page shows it that was opened after it.
    """

    loaded_anew = False

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the state, or the part of it that is asked for."""
        if key is None and self.comm is not None:
            self.loaded_anew = True
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        return state
