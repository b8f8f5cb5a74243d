"""A process that does jobs: `worker.py LEDGER STORE`. A request with a number below 0 kills it."""

from __future__ import annotations

import os
import signal
import sys
import time

from luban.engine.jobs import Claim, Job, JobQueue, JobRunner
from luban.store.blobs import Store
from luban.store.ledger import Ledger


def main() -> None:
    queue, store = JobQueue(Ledger(sys.argv[1])), Store(sys.argv[2])

    def work(job: Job, claim: Claim) -> object:
        number = job.request["number"]
        if number < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        for share in range(5):
            claim.report(share / 5)
            time.sleep(0.01)
        return {"blob": store.put(f"{number}".encode() * 1000)}

    print("working", flush=True)
    JobRunner(queue, {"count": work}).run(poll_s=0.02)


if __name__ == "__main__":
    main()
