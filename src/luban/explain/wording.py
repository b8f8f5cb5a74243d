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
        "counterfactual": "It would be {other} in place of {answer} if:",
        "no_counterfactual": "Nothing was found within {tries} tries that would make it other than {answer}.",
        "what": "what is there",
        "becomes": "becomes",
        "limits": "{answer}. It stays so, to the last digit, while all values stay within limits ({trees} trees):",
        "above": "above",
        "value": "value",
        "up_to": "up to",
        "trees": "The {shown} trees that differ most from their mean, for “{explains}”:",
        "tree": "tree",
        "question": "because",
        "differs": "more than its mean",
        "surrogate_agreement": "Imitated by a small model that agrees on {fidelity} of unseen rows ({rows} rows; "
        "always saying the same: {chance}).",
        "surrogate_r2": "Imitated by a small model with an R² of {fidelity} on unseen rows ({rows} rows).",
        "linear_for": "Weights for “{explains}”, by deviation:",
        "share": "share",
        "answer": "answer",
        "reasons_for": "For “{explains}”: {parts}.",
        "reasons_against": "Against it: {parts}.",
        "reasons_up": "More because of {parts}.",
        "reasons_down": "Less because of {parts}.",
        "reasons_none": "No part of this row speaks for or against it.",
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
        "counterfactual": "若作以下改动，答案将由 {answer} 变为 {other}：",
        "no_counterfactual": "尝试 {tries} 次，未找到能改变答案 {answer} 的改动。",
        "what": "现有",
        "becomes": "改为",
        "limits": "{answer}。只要各值不越出以下界限，答案丝毫不变（共 {trees} 棵树）：",
        "above": "大于",
        "value": "值",
        "up_to": "不超过",
        "trees": "与自身均值相差最大的 {shown} 棵树，针对“{explains}”：",
        "tree": "树",
        "question": "因为",
        "differs": "比均值多",
        "surrogate_agreement": "由一个小模型模仿：在未见过的行上一致率为 {fidelity}"
        "（共 {rows} 行；始终回答同一答案：{chance}）。",
        "surrogate_r2": "由一个小模型模仿：在未见过的行上 R² 为 {fidelity}（共 {rows} 行）。",
        "linear_for": "对“{explains}”的权重（按标准差）：",
        "share": "占比",
        "answer": "答案",
        "reasons_for": "支持“{explains}”：{parts}。",
        "reasons_against": "反对：{parts}。",
        "reasons_up": "使其偏高：{parts}。",
        "reasons_down": "使其偏低：{parts}。",
        "reasons_none": "这一行没有支持或反对它的部分。",
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
