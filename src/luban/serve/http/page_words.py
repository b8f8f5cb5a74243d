"""The words of the page at `/`, by language, and which language a browser is answered in.

Decided here: who asks for nothing that is here gets English. A link may say more than the browser does. The names of
column types are those of the reports.
"""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "untold": "A Luban model",
        "locked": "This model needs an API key. Send it as a header:",
        "whose_key": "Keys are made by whoever runs this server, with `luban keys create`.",
        "none": "No model answers yet",
        "soon": "This page shows one as soon as it is released and loaded.",
        "version": "version {version}",
        "identity": "identity {identity}",
        "since": "loaded {since} UTC",
        "ask": "Ask it",
        "answers": "It answers, beside the model's identity and the request's id:",
        "sent": "What is sent",
        "answered": "What is answered",
        "column": "column",
        "type": "type",
        "more_columns": "and {number} more",
        "more": "More",
        "model": "the model's facts",
        "openapi": "OpenAPI",
        "metrics": "figures",
        "health": "alive",
        "ready": "ready",
        "keyed": "With the key also: {paths}.",
        "string": "text",
        "number": "number",
        "array": "list",
        "comma": ", ",
    },
    "zh": {
        "untold": "鲁班模型",
        "locked": "使用此模型需要 API 密钥，请放在请求头中：",
        "whose_key": "密钥由运行此服务器的人用 `luban keys create` 生成。",
        "none": "还没有模型可以作答",
        "soon": "模型发布并加载之后，会显示在本页。",
        "version": "第 {version} 版",
        "identity": "标识 {identity}",
        "since": "加载于 {since} UTC",
        "ask": "如何提问",
        "answers": "回答如下（另有模型标识与请求编号）：",
        "sent": "发送的列",
        "answered": "回答的列",
        "column": "列",
        "type": "类型",
        "more_columns": "另有 {number} 列",
        "more": "更多",
        "model": "模型信息",
        "openapi": "OpenAPI",
        "metrics": "运行指标",
        "health": "是否存活",
        "ready": "是否就绪",
        "keyed": "凭密钥还可访问：{paths}。",
        "string": "文本",
        "number": "数字",
        "array": "列表",
        "comma": "，",
    },
}
NAMES: dict[Language, str] = {"en": "English", "zh": "中文"}
_MOST = 20
"""Languages of a header that are looked at."""


def language_of(accepted: str, asked: str = "") -> Language:
    """The language for a browser's `Accept-Language` (RFC 9110, 12.5.4); `asked` by a link counts for more.

    >>> language_of("zh-CN,zh;q=0.9,en;q=0.8"), language_of("fr, en;q=0.5, zh;q=0.4"), language_of("", "zh")
    ('zh', 'en', 'zh')
    """
    for known in WORDS:
        if asked == known:
            return known
    wanted: dict[str, float] = {}
    for part in accepted.lower().split(",")[:_MOST]:
        tag, _, parameters = part.partition(";")
        name = tag.strip().partition("-")[0]
        wanted[name] = max(wanted.get(name, 0.0), _quality(parameters))
    return "zh" if wanted.get("zh", 0.0) > wanted.get("en", 0.0) else "en"


def _quality(parameters: str) -> float:
    """0 to 1; what cannot be read counts as not wanted."""
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if name.strip() == "q" and 0 <= quality <= 1 else 0.0
