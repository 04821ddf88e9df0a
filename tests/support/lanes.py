"""Tests in parallel (`pytest -n auto`): file by file, and at the end, with nothing beside them, the timed ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TIMED = "timed"
_KERNEL_FIXTURES = {"kernel", "notebook_runs"}
_SLOWEST_FIRST = ("packaging", "browser", "kernel", "slow")


def sort_into_lanes(items: list[pytest.Item]) -> list[str]:
    """Mark those that start kernels and those that are quick, and order all: what takes longest first, timed ones last.

    Returns
    -------
    list of str
        The ids of the timed ones.
    """

    def place(item: pytest.Item) -> int:
        markers = {marker.name for marker in item.iter_markers()}
        if TIMED in markers:
            return len(_SLOWEST_FIRST) + 1
        return next((place for place, name in enumerate(_SLOWEST_FIRST) if name in markers), len(_SLOWEST_FIRST))

    for item in items:
        in_kernels = item.path.suffix == ".ipynb" or item.path.parent.name == "shell"
        if in_kernels or _KERNEL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("kernel")
        if place(item) == len(_SLOWEST_FIRST):
            item.add_marker("quick")
    items.sort(key=place)
    return [item.nodeid for item in items if item.get_closest_marker(TIMED)]


class LaneScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker one file after the other, and the timed tests to the last worker when the others have ended.

    Parameters
    ----------
    timed
        A file of JSON with the ids of the timed tests; each worker has written it when it has collected its tests.
    """

    def __init__(self, config: pytest.Config, log: Producer, timed: Path) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._file = timed
        self._timed: set[str] = set()

    def schedule(self) -> None:
        self._timed = set(json.loads(self._file.read_text()))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return TIMED if nodeid in self._timed else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        *others, last = self.nodes
        if others and set(self.workqueue) == {TIMED}:
            if node is not last:
                node.shutdown()
            return
        super()._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        # Else the worker that replaces one that has crashed would be given these again, and wait for ever.
        work = self.assigned_work[node]
        for file in [file for file, done in work.items() if all(done.values())]:
            del work[file]
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            if self.workqueue and other in self.registered_collections:
                self._reschedule(other)
        return crashed
