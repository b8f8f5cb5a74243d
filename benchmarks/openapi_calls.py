"""A hundred thousand requests that Schemathesis makes of a server's own OpenAPI, and what came back.

    python -m benchmarks.openapi_calls [--calls 100000] [--quick]

The demo's project is served as a user would. Half of the requests fit the description, half break it. Of every
response is checked: no 500, no other status of 500 or above but one that the operation states (503, 504), and a
status, a content type and a body as described. Not checked: that a body which breaks the schema is refused, for a bad
row gets an error in place of its answer and stops no other; that is a promise. The first response that does not fit
ends the run with its request.

Making a request of the description costs several times what answering it does (`cpu s` beside `server cpu s`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.figures import emit

NAME = "openapi_calls"
QUICK = 5_000


def calls(address: str, wanted: int, known: Mapping[str, str], key: str = "", chance: int = 0) -> Counter[int]:
    """Make about so many requests of the server at `address`; gives how often each status came.

    `known` are parts of paths that exist, by name, which every other request takes. Raises AssertionError or
    Schemathesis' own failure at the first response that does not fit.
    """
    import requests
    import schemathesis

    headers = {"X-API-Key": key} if key else {}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    seen: Counter[int] = Counter()
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    examples = -(-wanted // (len(operations) * len(modes)))
    with requests.Session() as session:
        session.headers.update(headers)
        for operation in operations:
            for mode in modes:
                _of_one(operation, mode, examples, session, {"address": address, **known}, seen, chance)
    return seen


def _of_one(
    operation: Any,
    mode: Any,
    examples: int,
    session: Any,
    known: Mapping[str, str],
    seen: Counter[int],
    chance: int,
) -> None:
    from schemathesis.specs.openapi import checks as described

    checks = [
        described.status_code_conformance,
        described.content_type_conformance,
        described.response_headers_conformance,
        described.response_schema_conformance,
    ]
    stated = operation.definition.raw["responses"]

    @seed(chance)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if seen.total() % 2:
            parts = case.path_parameters or {}
            case.path_parameters = {name: known.get(name, value) for name, value in parts.items()}
        if seen.total() % 20:  # else a key that was made up, if there is one
            sent = case.headers or {}
            case.headers = {name: sent[name] for name in sent if name.lower() not in ("authorization", "x-api-key")}
        response = case.call(session=session, base_url=known["address"], timeout=30)
        seen[response.status_code] += 1
        allowed = response.status_code < 500 or (response.status_code != 500 and str(response.status_code) in stated)
        assert allowed, f"{operation.label}: {response.status_code} {response.text[:500]}\n{case.as_curl_command()}"
        case.validate_response(response, checks=checks)

    ask()


def main() -> None:
    from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS, demo

    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} requests")
    options = parser.parse_args()
    wanted = QUICK if options.quick else options.calls
    key = secrets.token_urlsafe(24)
    made = demo(options.quick)
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("wb") as log:
        # A copy: the calls change deployments, and hand in jobs and records.
        folder = shutil.copytree(made, Path(scratch) / "project")
        command = [LUBAN, "serve", "--project", str(folder), "--port", "0", "--json"]
        settings_of_it = {"LUBAN_API_KEY": key, "LUBAN__SERVE__JOBS__WORKERS": "0"}
        environment = {**STATE_IS_THE_PROJECTS, **settings_of_it, "LUBAN__SERVE__JOBS__MAX_WAITING": str(wanted)}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            start = time.perf_counter()
            seen = calls(address, wanted, known_parts(address, key), key, chance=int.from_bytes(os.urandom(4)))
            seconds = time.perf_counter() - start
            assert server.poll() is None, "the server ended"
            before = processor_s(resource.RUSAGE_CHILDREN)
        finally:
            server.terminate()
            server.wait(60)
    own_s, server_s = processor_s(resource.RUSAGE_SELF), processor_s(resource.RUSAGE_CHILDREN) - before
    by_status = {str(status): count for status, count in sorted(seen.items())}
    figures = {"calls": seen.total(), "status_500": seen[500], "seconds": round(seconds)}
    cpu = {"cpu_s": round(own_s), "server_cpu_s": round(server_s)}
    emit(NAME, f"{seen.total():,} calls", **figures, **cpu, by_status=by_status)


def processor_s(of: int) -> float:
    """Processor time of this process, or of those that it has waited for."""
    used = resource.getrusage(of)
    return used.ru_utime + used.ru_stime


def known_parts(address: str, key: str = "") -> dict[str, str]:
    """Parts of paths that exist on a server: a model, its version, a job that waits."""
    import requests

    headers = {"X-API-Key": key} if key else {}
    model = requests.get(f"{address}/v1/model", headers=headers, timeout=30).json()
    job = requests.post(f"{address}/v1/jobs", json={"rows": []}, headers=headers, timeout=30).json()
    return {"model": model["model"], "version": str(model["version"]), "job": job["id"]}


if __name__ == "__main__":
    main()
