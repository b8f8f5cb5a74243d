"""The collector of a process that serves: when it looks, and what it looks at."""

import subprocess
import sys

from luban.serve.processes.collecting import COLLECT_S, Collecting

CIRCLE = """
import gc, weakref
from luban.serve.processes.collecting import COLLECT_S, Collecting
class Circle:
    def __init__(self):
        self.me = self
now = 0.0
loaded = Circle()
one = Collecting(lambda: now)
one.begin()
assert gc.get_freeze_count() > 0 and gc.get_threshold()[0] > 10_000
gone, kept = weakref.ref(Circle()), weakref.ref(loaded)
assert gone() is not None, "a circle waits for the collector"
now = COLLECT_S - 1
assert not one.now_and_then() and gone() is not None
now = COLLECT_S
assert one.now_and_then() and gone() is None and kept() is not None
assert not one.now_and_then()
"""


def test_what_lies_in_a_circle_is_collected_every_half_minute() -> None:
    # In a process of its own: the collector's settings are the whole process's.
    subprocess.run([sys.executable, "-c", CIRCLE], check=True, timeout=60)


def test_a_process_that_does_not_only_serve_is_left_alone() -> None:
    one = Collecting(lambda: 10 * COLLECT_S)
    assert not one.now_and_then()
