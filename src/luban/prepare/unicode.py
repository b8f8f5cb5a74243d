"""Text as it was meant: mojibake undone, one Unicode form, one kind of line ending, nothing invisible.

What is done, in this order, until nothing changes any more (so that the step is idempotent): surrogates
paired or replaced (�); mojibake undone by ftfy; full-width letters and digits made plain; the Unicode form;
line endings and spaces made plain; control and invisible characters removed, but for the joiners that
emoji, Arabic and Indic scripts need; white space at both ends stripped.

Decided here: full-width punctuation stays, because it is what Chinese is written with; NFC, because
NFKC also rewrites what differs in meaning (², ½, ㎡). HTML entities are not touched.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, ClassVar, Literal

import pyarrow as pa

from luban.prepare.base import RowStep

_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *range(0xFFF9, 0xFFFC), *range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF]
_PLAIN: dict[int, str | None] = {
    **dict.fromkeys(_CONTROLS),
    **dict.fromkeys(map(ord, _INVISIBLE + _BIDI)),
    **dict.fromkeys(map(ord, _SPACES), " "),
    **dict.fromkeys(map(ord, "\r\x0b\x0c\x85\u2028\u2029"), "\n"),
    0x09: "\t",
    0x0A: "\n",
}
_WIDE_LETTERS = {0xFEE0 + code: chr(code) for code in range(0x21, 0x7F) if chr(code).isalnum()}
_WIDE_ALL = {0xFEE0 + code: chr(code) for code in range(0x21, 0x7F)}
_SURROGATE = re.compile("[\ud800-\udfff]")
# what may stand beside a joiner that means something: Hebrew to Mongolian scripts, symbols, emoji
_JOINED = "\u0590-\u1cff\u2190-\u2bff\u3030\u303d\ufe0e\ufe0f\U0001f000-\U0001faff"
_STRAY_JOINER = re.compile(f"(?<![{_JOINED}])[\u200c\u200d]+|[\u200c\u200d]+(?![{_JOINED}])")
# RE2. ASCII, Chinese and Japanese characters and their punctuation: here no rule above changes anything
_SETTLED_CHARACTERS = (
    r"\n\t\x20-\x7e\x{b7}\x{2013}-\x{2015}\x{2018}\x{2019}\x{201c}\x{201d}\x{2026}"
    r"\x{3001}-\x{3029}\x{3041}-\x{3094}\x{30a1}-\x{30fa}\x{30fc}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}"
)
_WIDE_PUNCTUATION = r"\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff20}\x{ff3b}-\x{ff40}\x{ff5b}-\x{ff5e}"


class Unicode(RowStep):
    """Repairs and normalises text.

    >>> Unicode().value("  ＡＢＣ１２３，ok\\r\\n")
    'ABC123，ok'
    >>> Unicode().value("schÃ¶n\\u200b")
    'schön'
    """

    types = None

    keeps_floats: ClassVar[bool] = True

    class Config(RowStep.Config):
        """How text is normalised."""

        form: Literal["NFC", "NFKC"] = "NFC"
        """NFC: equal characters get equal codes. NFKC: look-alikes too (², ½, ㎡ become 2, 1⁄2, m2)."""
        wide: Literal["letters", "all", "keep"] = "letters"
        """Full-width forms that become plain ones: letters and digits, punctuation too, or none."""

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._wide = {"letters": _WIDE_LETTERS, "all": _WIDE_ALL, "keep": {}}[self.config.wide]
        kept = _SETTLED_CHARACTERS
        if self.config.form == "NFC" and self.config.wide == "letters":
            kept += _WIDE_PUNCTUATION
        if self.config.form == "NFKC":
            kept = kept.replace(r"\x{2026}", "")  # … becomes three dots
        self._unsettled = f"[^{kept}]|^[ \\n\\t]|[ \\n\\t]$"

    def value(self, raw: Any) -> Any:
        """Text repaired and normalised; whatever is not text stays as it is."""
        if not isinstance(raw, str) or (raw.isascii() and raw.isprintable() and raw.strip() == raw):
            return raw
        before, text = raw, self._once(raw)
        while text != before:
            before, text = text, self._once(text)
        return text

    def _once(self, text: str) -> str:
        from ftfy import fix_encoding

        if _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = fix_encoding(text).translate(self._wide)
        text = unicodedata.normalize(self.config.form, text)
        text = text.replace("\r\n", "\n").translate(_PLAIN)
        return _STRAY_JOINER.sub("", text).strip()

    def settled(self, values: pa.Array) -> pa.Array | None:
        """True for null, and for text of characters that no rule changes."""
        import pyarrow.compute as pc

        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            return pa.array([True]).take(pa.array([0] * len(values), pa.int64())) if len(values) else None
        return pc.fill_null(pc.invert(pc.match_substring_regex(values, self._unsettled)), True)
