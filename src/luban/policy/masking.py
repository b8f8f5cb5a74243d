"""Personal data masked: what may stand in a log instead of a text that may hold it.

Everything that `personal` recognises is replaced by its kind in brackets; API keys of this software and bearer
tokens too. What `personal` does not find (names, addresses) stays: whoever logs a text
must still ask whether it should be logged at all.
"""

from __future__ import annotations

import re

from luban.policy.personal import find

MAX_CHARACTERS = 2000
_SECRETS = (
    (re.compile(r"luban_[0-9a-z]{1,32}_[A-Za-z0-9_-]{16,}"), "[API key]"),
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "[token]"),
    (re.compile(r"(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}"), r"\1 [secret]"),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), "[secret]"),
)


def mask(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """The text without what looks personal or secret, cut to `max_characters`.

    >>> mask("call 13812345678 or li.lei@example.com")
    'call [phone number] or [e-mail]'
    >>> mask("redis://app:hunter22@10.0.0.1/0")
    'redis://[secret]@10.0.0.1/0'
    """
    # Cut first, with room for what is masked away: the time that this takes is bounded whatever was sent.
    text = text[: 2 * max_characters]
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    pieces, at = [], 0
    for span in sorted(find(text), key=lambda span: span.start):
        pieces += [text[at : span.start], f"[{span.kind}]"]
        at = span.end
    text = "".join([*pieces, text[at:]])
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"
