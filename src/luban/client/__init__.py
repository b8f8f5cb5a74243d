"""A small client of a Luban server, on the standard library alone.

    from luban.client import Client

    with Client("http://127.0.0.1:8000", key="…") as client:
        client.predict([{"text": "soft bed"}]).answers

Knows the server by its HTTP interface only; it imports nothing of what trains or serves.
"""

from luban.client.api import Answers, Client, Fact, FeedbackItem, FeedbackResult
from luban.client.jobs import JobFailed, JobState
from luban.client.wire import Refused, Unreachable

__all__ = [
    "Answers",
    "Client",
    "Fact",
    "FeedbackItem",
    "FeedbackResult",
    "JobFailed",
    "JobState",
    "Refused",
    "Unreachable",
]
