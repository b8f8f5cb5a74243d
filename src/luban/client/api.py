"""The client: predictions, feedback, jobs, and facts of what answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import quote

from luban.client.jobs import JobsOfServer
from luban.client.wire import Ask, Refused, Unreachable, Wire, as_json

Row: TypeAlias = Mapping[str, object]
Fact: TypeAlias = Mapping[str, Any]
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answers:
    """One answer a row, in order, each a mapping of answer columns, or `{"error": reason}`.

    `request_id` is what feedback names; `more` are members of the response beside these.
    """

    answers: Sequence[Mapping[str, Any]]
    model: str
    version: int | None
    identity: str
    request_id: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, place: int) -> Mapping[str, Any]:
        return self.answers[place]

    @property
    def num_errors(self) -> int:
        """How many rows have an error for an answer."""
        return sum(1 for answer in self.answers if "error" in answer)


@dataclass(frozen=True)
class FeedbackItem:
    """The truth of one answer, or business figures of it; `position` is that of its row in its request."""

    request_id: str
    position: int = 0
    truth: object = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FeedbackResult:
    """What became of an item: joined, pending, or refused for a reason."""

    state: str
    reason: str = ""


class Client:
    """A server of models. Threads may share it.

    `timeout_s` bounds a request with all its tries, of which there are at most 1 + `retries`. `ca_file`
    holds the certificates to trust in place of the system's. Methods raise Refused for what the server refuses
    and Unreachable where no answer comes.
    """

    def __init__(
        self, url: str, key: str = "", *, timeout_s: float = 30.0, retries: int = 3, ca_file: Path | None = None
    ) -> None:
        self._wire = Wire(url, key, timeout_s, retries, ca_file)
        self.jobs = JobsOfServer(self._wire)
        """Files and long lists of rows, answered in the background."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; they are opened anew when they are needed."""
        self._wire.close()

    def predict(
        self,
        rows: Sequence[Row],
        options: Mapping[str, object] | None = None,
        *,
        model: str = "",
        explain: bool = False,
        sticky: str = "",
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> Answers:
        """One answer a row, in order.

        `model`: one of several; `explain`: with reasons; `sticky`: a key by which a test or canary keeps a user at
        one version; `request_id`: your own, for feedback. NaN is not JSON: give None for what is missing. A value that
        is bytes, or the path of a file (`pathlib.Path`), is sent as base64: pictures.
        """
        told: dict[str, Any] = {"rows": list(rows)}
        if options is not None:
            told["options"] = dict(options)
        if explain:
            told["explain"] = True
        named = {"X-Sticky-Key": sticky, "X-Request-ID": request_id}
        headers = {**_JSON, **{name: value for name, value in named.items() if value}}
        body = as_json(told)
        got = self._wire.ask(Ask("POST", _of(model, "predict"), {}, body, None, headers), timeout_s).json()
        own = {name: got.pop(name) for name in ("answers", "model", "version", "identity", "request_id")}
        return Answers(**own, more=got)

    def feedback(self, items: Sequence[FeedbackItem], model: str = "") -> list[FeedbackResult]:
        """Tell the truth of answers, later; one result an item, in order."""
        told = [{name: value for name, value in asdict(item).items() if value not in (None, {})} for item in items]
        body = json.dumps({"feedback": told}, ensure_ascii=False, allow_nan=False).encode()
        got = self._wire.ask(Ask("POST", _of(model, "feedback"), {}, body, None, _JSON, twice=False)).json()
        return [FeedbackResult(one["state"], one.get("reason", "")) for one in got["results"]]

    def is_ready(self) -> bool:
        """Whether the server is there and its model loaded; asked once."""
        try:
            self._wire.ask(Ask("GET", "/ready"), min(5.0, self._wire.timeout_s), retries=0)
        except (Refused, Unreachable):
            return False
        return True

    def model(self, name: str = "") -> Fact:
        """Facts of the model that answers: version, identity, columns, answer columns, options."""
        found: Fact = self._wire.ask(Ask("GET", f"/v1/models/{quote(name, safe='')}" if name else "/v1/model")).json()
        return found


def _of(model: str, what: str) -> str:
    return f"/v1/models/{quote(model, safe='')}/{what}" if model else f"/v1/{what}"
