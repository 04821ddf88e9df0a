"""Whether the value of a magic goes anywhere but into the Out."""

from __future__ import annotations

import dis
import sys
from types import FrameType
from typing import Final

_MAGIC_CALLS: Final = frozenset({"run_line_magic", "run_cell_magic"})
_DROPPED: Final = frozenset({"POP_TOP", "PRINT_EXPR", "CALL_INTRINSIC_1"})


def value_is_used() -> bool:
    """Tell whether the statement that called the running magic does something with its value.

    IPython gives ``%donutwork ping;`` and ``x = %donutwork ping;`` to the magic alike, and shows what it returns. They
    differ in the instruction that follows the call: one prints or drops the value, the other stores it.
    """
    frame = _caller_of_the_magic()
    if frame is None:
        return True
    following = (step for step in dis.get_instructions(frame.f_code) if step.offset > frame.f_lasti)
    step = next(following, None)
    return step is None or step.opname not in _DROPPED


def _caller_of_the_magic() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name not in _MAGIC_CALLS:
        frame = frame.f_back
    return None if frame is None else frame.f_back
