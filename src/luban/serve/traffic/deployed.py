"""What an application does about deployments, put together: counts, shadows, their rows in the ledger, leading.

Without a project's state (a bundle from a folder) there are no deployments, and nothing here runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luban.release.deployments import Deployments
from luban.release.registry import Registry
from luban.serve.traffic.control import Leader
from luban.serve.traffic.counting import Counting, Writer, refused
from luban.serve.traffic.paths import Rollouts
from luban.serve.traffic.shadows import Shadows
from luban.store.process import sign

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.desk import Listener
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.watch.metrics import Metrics
    from luban.store.home import Home


class Deployed:
    """The parts of one application. Threads begin here, and end with `close`."""

    def __init__(self, fleet: Fleet, config: ServeConfig, home: Home | None) -> None:
        self.listeners: Sequence[Listener] = ()
        self._shadows: Shadows | None = None
        self._writer: Writer | None = None
        self._leader: Leader | None = None
        if home is None:
            self.paths = Rollouts(fleet, config, None, None)
            return
        ledger = home.ledger
        deployments = Deployments(ledger, Registry(ledger, home.store))
        self.paths = Rollouts(fleet, config, ledger, deployments)
        counting, shadows = Counting(), Shadows(config.traffic.shadow_waiting)
        self.listeners = (counting, shadows)
        sources = [counting.figures, shadows.rows, lambda: refused(fleet, deployments.read)]
        self._shadows, self._writer = shadows, Writer(ledger, str(sign()), config.traffic.write_s, sources)
        self._writer.start()
        if config.traffic.lead:
            self._leader = Leader(ledger, deployments, fleet.names, config.traffic.write_s)
            self._leader.start()

    def tell(self, metrics: Metrics) -> None:
        """Have the figures of shadows asked."""
        if self._shadows is not None:
            metrics.add(self._shadows)

    def close(self) -> None:
        """Lead no more, write what was counted, and end the threads."""
        if self._leader is not None:
            self._leader.stop()
        if self._shadows is not None:
            self._shadows.stop()
        if self._writer is not None:
            self._writer.stop()
        self.paths.close()
