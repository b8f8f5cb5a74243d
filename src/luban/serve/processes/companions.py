"""What lives beside the application for as long as the server runs: another protocol's port, processes for jobs.

Each is started on the server's event loop before the first request, and stopped after the last. Knows neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.guards.door import Door
    from luban.serve.office import Office
    from luban.serve.watch.accounts import Accounts
    from luban.store.home import Home


class Companion(Protocol):
    """Started and stopped once."""

    async def start(self) -> None:
        """Begin. Raises LubanError where it cannot: then the server ends."""

    async def stop(self) -> None:
        """End in good order."""


class Companions:
    """All of them, in the order in which they were added."""

    def __init__(self) -> None:
        self._all: list[Companion] = []
        self._started: list[Companion] = []

    def add(self, companion: Companion) -> None:
        """One more; before `start`."""
        self._all.append(companion)

    async def start(self) -> None:
        """Start each. Raises what one raises, after those before it were stopped."""
        try:
            for companion in self._all:
                await companion.start()
                self._started.append(companion)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop those that were started, the last first."""
        while self._started:
            await self._started.pop().stop()


def companions_of(config: ServeConfig, office: Office, door: Door, accounts: Accounts, home: Home | None) -> Companions:
    """What the settings ask for. Raises MissingExtra."""
    found = Companions()
    if config.grpc.port is not None:
        from luban.serve.inference.grpc_service import GrpcService

        found.add(GrpcService(office.desk, config, door.enter, accounts))
    if home is not None and config.jobs.enabled:
        from luban.serve.jobs.job_process import JobProcesses

        processes = JobProcesses(home, config)
        office.metrics.add(processes)
        found.add(processes)
    return found
