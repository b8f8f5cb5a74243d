"""All words of explanations, by language. Every language has the same keys and the same blanks."""

from __future__ import annotations

from luban.evaluate.wording import Language

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "title": "Why {model} answers so",
        "row": "Row {row}",
        "model": "The model as a whole",
        "unexplained": "No answer, so nothing to explain: {error}.",
        "because": "{answer}. For “{explains}”: {output} ({unit}), {base} if nothing were known.",
        "no_parts": "Nothing in this row can be taken away.",
        "effect_of": "{column}",
        "column": "column",
        "part": "part",
        "effect": "effect",
        "for": "speaks for it",
        "against": "speaks against it",
        "method": "method",
        "interval": "95 % interval",
        "importance": "importance",
        "importance_loss": "How much the loss grows when a column's values are shuffled ({rows} rows, loss {whole}).",
        "importance_change": "How far answers move when a column's values are shuffled ({rows} rows).",
        "check": "check",
        "score": "score",
    },
    "zh": {
        "title": "{model} 为何这样回答",
        "row": "第 {row} 行",
        "model": "整个模型",
        "unexplained": "没有答案，无可解释：{error}。",
        "because": "{answer}。“{explains}”的得分：{output}（{unit}）；若一无所知则为 {base}。",
        "no_parts": "这一行没有可以去掉的部分。",
        "effect_of": "{column}",
        "column": "列",
        "part": "部分",
        "effect": "影响",
        "for": "支持",
        "against": "反对",
        "method": "方法",
        "interval": "95 % 区间",
        "importance": "重要性",
        "importance_loss": "打乱某列的值后损失增加多少（{rows} 行，原损失 {whole}）。",
        "importance_change": "打乱某列的值后答案移动多少（{rows} 行）。",
        "check": "检验",
        "score": "得分",
    },
}

UNITS: dict[Language, dict[str, str]] = {
    "en": {"log-odds": "log-odds", "value": "its own unit"},
    "zh": {"log-odds": "对数几率", "value": "目标的单位"},
}


def say(language: Language, key: str, values: dict[str, object] | None = None) -> str:
    """The words of `key`, its blanks filled in."""
    filled = dict(values or {})
    if "unit" in filled:
        filled["unit"] = UNITS[language].get(str(filled["unit"]), filled["unit"])
    return WORDS[language][key].format(**filled)
