"""What a proxy says where no server answers: problem details like the servers' own (RFC 9457), written into its file.

Decided here: kinds that a server knows have the server's `type` and title; those that only a proxy meets have a type
of the same form. 429 and 503 say when to come again. Calls over gRPC get what gRPC reads: status 200, and the call's
own status among the headers of an answer without a body ("trailers-only"), with the kind as `luban-problem`, as servers
say it. Texts hold no sign that NGINX or HAProxy would take for their own. Knows no template.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from luban.serve.http.problems import KINDS

OWN: dict[str, tuple[int, str]] = {
    "head-too-large": (431, "The address or the headers are too large."),
    "no-answer": (502, "No server gave an answer."),
    "no-server": (503, "No server can take the request now."),
}
"""Kinds that servers do not know: status and title."""


@dataclass(frozen=True)
class Answer:
    """One problem. `grpc` is the status of a call (google.rpc.Code), 0 where calls do not meet it."""

    kind: str
    detail: str
    todo: str
    grpc: int = 0

    @property
    def status(self) -> int:
        """The HTTP status."""
        return {**KINDS, **OWN}[self.kind][0]

    @property
    def retry_after_s(self) -> int:
        """When to come again, in seconds; 0 where that is not known."""
        return 1 if self.status in (429, 503) else 0

    @property
    def message(self) -> str:
        """What a call over gRPC is told."""
        return f"{self.detail} {self.todo}"

    def body(self, request_id: str) -> str:
        """The problem as JSON. `request_id` is put in as it stands: the proxy's own variable."""
        told = {
            "type": f"urn:luban:problem:{self.kind}",
            "title": {**KINDS, **OWN}[self.kind][1],
            "status": self.status,
            "detail": self.detail,
            "todo": self.todo,
            "request_id": request_id,
        }
        return json.dumps(told, separators=(",", ":"))


_ALL = (
    Answer("bad-request", "The request cannot be read as HTTP, or came without TLS.", "Look at the client."),
    Answer("no-such-path", "The proxy does not pass this path on.", "Ask a server itself."),
    Answer("too-slow", "The request was not complete in time.", "Send less, or faster."),
    Answer("too-large", "The body has more bytes than are let through.", "Send fewer rows a request.", 3),
    Answer("too-many-requests", "This address asks too often, or on too many connections.", "Ask again later.", 8),
    Answer("head-too-large", "The address or the headers do not fit.", "Send what is long in the body."),
    Answer("internal", "The proxy failed to answer.", "Look at its log for this request.", 13),
    Answer("no-answer", "No server could be reached, or the one that was asked hung up.", "Look at the servers.", 14),
    Answer("no-server", "No server is ready, or all have as much to do as they can.", "Ask again later.", 14),
    Answer("too-late", "No server gave an answer in time.", "Ask again later, or with fewer rows.", 4),
)
ANSWERS = {answer.status: answer for answer in _ALL}
"""All that a proxy says by itself, by status."""
