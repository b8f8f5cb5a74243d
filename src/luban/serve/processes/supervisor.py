"""Several worker processes behind one listening socket: started, started again when one dies, and stopped together.

The supervisor binds the port and answers nothing itself. Each worker is a process of its own (started anew, never
forked, since threads of ONNX Runtime do not survive a fork) that takes connections from the one socket. So when one
dies, the port stays open, the others go on, and only what that one was answering is lost. A worker that dies soon
after its start is started again only after a pause that doubles; one that cannot start in the beginning ends the
server. SIGTERM and SIGINT are passed on: the port is closed, workers finish what they have, and then all is over. If
the supervisor itself is killed, workers see that and end.

This module knows no model, no request and no event loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from luban.errors import ServeError
from luban.serve.processes.worker import VARIABLE, Worker

LOG = logging.getLogger("luban.serve")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
STEADY_S = 10.0
"""A worker that lived so long is started again without a pause."""
GRACE_S = 5.0
"""What workers get beyond the time that their requests have to finish; then they are killed."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _Slot:
    """One worker's place: the process that is in it, if there is one."""

    index: int
    process: subprocess.Popen[bytes] | None = None
    pipe: int = -1
    is_ready: bool = False
    since: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    start_at: float = 0.0


class Supervisor:
    """Keeps `count` processes of `command` running, all with the socket `listening`."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        listening: socket.socket,
        environment: Mapping[str, str],
        stop_s: float,
    ) -> None:
        self._command = list(command)
        self._slots = [_Slot(index) for index in range(count)]
        self._listening = listening
        self._environment = environment
        self._stop_s = stop_s
        self._selector = selectors.DefaultSelector()
        self._alive = (-1, -1)
        self._folder = ""
        self._signals: list[int] = []
        self._kill_at: float | None = None

    def run(self, ready: Callable[[], None]) -> None:
        """Return once all have ended after a signal. `ready` is called when all are, for the first time.

        Raises ServeError where a worker ends before it was ready for the first time.
        """
        with self._prepared(), self._woken_by_signals():
            try:
                for slot in self._slots:
                    self._start(slot)
                self._until(lambda: all(slot.is_ready for slot in self._slots))
                if self._kill_at is None:
                    ready()
                self._until(lambda: False, begun=True)
            finally:
                self._end_all()

    def _until(self, enough: Callable[[], bool], begun: bool = False) -> None:
        """Look after workers until `enough`, or until all have ended because they were told to."""
        while not enough():
            self._wait()
            while self._signals:
                self._pass_on(self._signals.pop(0))
            for slot in self._slots:
                self._look_after(slot, begun)
            if self._kill_at is not None and not any(slot.process for slot in self._slots):
                return

    def _wait(self) -> None:
        """Until something happens, or something is to be done."""
        now = time.monotonic()
        times = [slot.start_at for slot in self._slots if slot.process is None and self._kill_at is None]
        times += [self._kill_at] if self._kill_at is not None else []
        timeout = max(min(times) - now, 0) if times else None
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, _Slot):
                self._heard(key.data)
            else:
                key.fileobj.recv(64)  # type: ignore[union-attr]

    def _heard(self, slot: _Slot) -> None:
        """A worker said that it is ready, or its pipe was closed with it."""
        if os.read(slot.pipe, 64):
            slot.is_ready = True
            return
        self._selector.unregister(slot.pipe)
        os.close(slot.pipe)
        slot.pipe = -1
        assert slot.process is not None
        slot.process.wait()

    def _look_after(self, slot: _Slot, begun: bool) -> None:
        now = time.monotonic()
        if slot.process is None:
            if self._kill_at is None and slot.start_at <= now:
                self._start(slot)
            return
        if slot.process.poll() is None or slot.pipe >= 0:
            if self._kill_at is not None and now >= self._kill_at:
                LOG.warning("worker killed", extra={"fields": {"worker": slot.index, "reason": "it did not end"}})
                slot.process.kill()
                slot.process.wait()
            return
        status, slot.process = slot.process.returncode, None
        if self._kill_at is not None:
            return
        if not begun and not slot.is_ready:
            raise ServeError(f"A worker ended with status {status} before it was ready.", "Look at what it said above.")
        lived = now - slot.since
        slot.pause_s = FIRST_PAUSE_S if lived >= STEADY_S else min(slot.pause_s * 2, LONGEST_PAUSE_S)
        slot.start_at = now if lived >= STEADY_S else now + slot.pause_s
        fields = {"worker": slot.index, "status": status, "lived_s": round(lived, 1), "pause_s": slot.pause_s}
        LOG.error("worker died, another takes its place", extra={"fields": fields})

    def _start(self, slot: _Slot) -> None:
        slot.pipe, theirs = os.pipe()
        worker = Worker(slot.index, len(self._slots), self._listening.fileno(), theirs, self._alive[0], self._folder)
        try:
            slot.process = subprocess.Popen(
                self._command,
                env={**self._environment, VARIABLE: worker.variable()},
                pass_fds=(worker.socket_fd, worker.ready_fd, worker.alive_fd),
                # Ctrl-C in a terminal goes to the supervisor alone, which passes it on.
                process_group=0,
            )
        finally:
            os.close(theirs)
        slot.is_ready, slot.since = False, time.monotonic()
        self._selector.register(slot.pipe, selectors.EVENT_READ, slot)

    def _pass_on(self, number: int) -> None:
        """Close the port and tell all workers to end; they get so long, and then are killed."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._stop_s + GRACE_S
            self._listening.close()
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(number)

    def _end_all(self) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.kill()
                slot.process.wait()
            if slot.pipe >= 0:
                os.close(slot.pipe)
        self._selector.close()

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        """The folder that workers share, and the pipe that closes with this process."""
        self._alive = os.pipe()
        try:
            with tempfile.TemporaryDirectory(prefix="luban-workers-") as self._folder:
                yield
        finally:
            for descriptor in self._alive:
                os.close(descriptor)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ, None)

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(signal.SIGTERM if number == signal.SIGHUP else number)

        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by `nohup`
        numbers = _SIGNALS if ignored else (*_SIGNALS, signal.SIGHUP)
        handlers = {number: signal.signal(number, note) for number in numbers}
        before = signal.set_wakeup_fd(theirs.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            ours.close()
            theirs.close()
