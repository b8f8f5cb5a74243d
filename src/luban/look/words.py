"""What findings say, by language. Every language has the same codes and blanks; nothing is decided here."""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "zh"]

KIND_WORDS: dict[Language, dict[str, str]] = {
    "en": {"identity number": "identity numbers", "bank card": "bank cards", "e-mail": "e-mail addresses",
           "phone number": "phone numbers"},
    "zh": {"identity number": "身份证号", "bank card": "银行卡号", "e-mail": "电子邮箱", "phone number": "电话号码"},
}  # fmt: skip
SCRIPT_WORDS: dict[Language, dict[str, str]] = {
    "en": {},
    "zh": {"Chinese": "中文", "Japanese": "日文", "Korean": "韩文", "Latin": "拉丁字母", "Cyrillic": "西里尔字母",
           "Arabic": "阿拉伯文"},
}  # fmt: skip

SENTENCES: dict[Language, dict[str, str]] = {
    "en": {
        "copies": "{count} rows ({share}) are exact copies of an earlier row. Of free text, prepare drops them.",
        "conflicts": "{count} rows ({share}) have equal inputs and different values of {column}. Which one is right?",
        "near-copies": "at least {share} of {rows} rows looked at are near copies of another. Prepare keeps them in "
        "one split, so that the test stays honest.",
        "near-not-looked": 'near copies were not looked for: pip install "luban[train]".',
        "is-personal": "{column} is personal data: {share} of its values look like {kind} ({count}). It is left out of "
        "what is learnt from.",
        "has-personal": "{column} holds personal data: {count} values ({share}) contain what looks like {kind}. Mask "
        "them before the data is shared, or leave the column out.",
        "missing": "{column} is missing in {count} rows ({share}).",
        "empty": "{column} has no value at all.",
        "constant": "{column} has the same value in every row: nothing can be learnt from it.",
        "id": "{column} names rows ({why}); it is not learnt from.",
        "languages": "{column} mixes writings: {shares}. Figures for each are worth looking at.",
        "unlabelled": "{count} rows ({share}) have no value of {column}: they are not learnt from.",
        "few-rows": "only {count} rows have a value of {column}; below {enough}, figures are rough and simple models "
        "win.",
        "few-of-a-class": "{count} of {classes} classes of {column} have fewer than {enough} rows: collect more, or "
        "merge them.",
        "imbalance": "{column} is lopsided: one class has {share} of the rows, the rarest has {least}. Accuracy alone "
        "will flatter: look at each class.",
        "leak": "{column} tells {target} in {share} of the rows. Is it known before {target} is? It is left out until "
        "you say so.",
        "target-named": "named like what is predicted",
        "target-figure": "named like a figure that is asked for",
        "target-few": "{distinct} different values",
        "target-last": "the last column",
    },
    "zh": {
        "copies": "有 {count} 行（{share}）与前面的行完全相同。自由文本中的重复行会在 prepare 时去掉。",
        "conflicts": "有 {count} 行（{share}）输入相同而 {column} 不同。哪一个才对？",
        "near-copies": "在查看的 {rows} 行中，至少 {share} 与另一行几乎相同。"
        "prepare 会把它们放在同一部分，使测试保持公正。",
        "near-not-looked": '没有查找近似重复：pip install "luban[train]"。',
        "is-personal": "{column} 是个人信息：{share} 的值像是{kind}（{count} 个）。不用它来学习。",
        "has-personal": "{column} 含有个人信息：{count} 个值（{share}）里有像{kind}的内容。"
        "分享数据前请打码，或去掉这一列。",
        "missing": "{column} 有 {count} 行（{share}）缺失。",
        "empty": "{column} 没有任何值。",
        "constant": "{column} 每一行都相同，学不到东西。",
        "id": "{column} 是行的编号（{why}），不用来学习。",
        "languages": "{column} 混有多种文字：{shares}。值得分别查看指标。",
        "unlabelled": "有 {count} 行（{share}）没有 {column}，不用来学习。",
        "few-rows": "只有 {count} 行有 {column}；少于 {enough} 行时指标较粗略，简单的模型更好。",
        "few-of-a-class": "{column} 的 {classes} 个类别中有 {count} 个少于 {enough} 行：请多收集，或合并。",
        "imbalance": "{column} 不平衡：一个类别占 {share}，最少的类别只有 {least} 行。"
        "只看准确率会过于乐观，请看每个类别。",
        "leak": "{column} 在 {share} 的行里就能说出 {target}。在知道 {target} 之前就知道它吗？在您确认之前先不用它。",
        "target-named": "名字像要预测的内容",
        "target-figure": "名字像常要预测的数值",
        "target-few": "{distinct} 个不同的值",
        "target-last": "最后一列",
    },
}
PHRASES: dict[Language, dict[str, str]] = {
    "en": {
        "looked": "Looked at {rows} rows of {source}{rest}: {columns} columns.",
        "rest": ", the beginning of it",
        "seen": "What was seen:",
        "nothing": "Nothing that stands in the way.",
        "target": "`{name}` is taken as the target: {why}. Another: --target COLUMN",
        "chosen": "`{name}` is the target.",
        "apart-is-personal": "looks like {kind}: not learnt from",
        "apart-leak": "tells {target} by itself: not learnt from unless it is known before",
        "others": "Could be the target too: {names}.",
        "maybe": "No column is surely the target. It could be: {names}. Name it: --target COLUMN, or `data.target`.",
        "none": "No column looks like what is to be predicted.",
        "label": "To learn, rows need an answer: add a column of labels (a few hundred rows are a start), then name it "
        "in `data.target`.",
        "until": "Until then `luban prepare` cleans and checks the data.",
        "called": "The model is called `{name}`, for names are of small Latin letters. Another: --name NAME",
        "wrote": "Wrote {path}",
        "next": "Next: look at it, then `luban {verb}{where}`",
        "comma": ", ",
    },
    "zh": {
        "looked": "看了 {source} 的 {rows} 行{rest}，共 {columns} 列。",
        "rest": "（开头部分）",
        "seen": "看到的情况：",
        "nothing": "没有妨碍训练的问题。",
        "target": "以 `{name}` 为预测目标：{why}。换一个：--target 列名",
        "chosen": "预测目标是 `{name}`。",
        "apart-is-personal": "像是{kind}：不用来学习",
        "apart-leak": "单凭它就能说出 {target}：除非事先已知，否则不用来学习",
        "others": "也可能是目标：{names}。",
        "maybe": "没有一列肯定是预测目标。可能是：{names}。请指定：--target 列名，或 `data.target`。",
        "none": "没有一列像是要预测的内容。",
        "label": "要学习，行里必须有答案：请加一列标签（先有几百行即可），再写进 `data.target`。",
        "until": "在此之前可用 `luban prepare` 清洗和检查数据。",
        "called": "模型名为 `{name}`，因为名字只能用小写拉丁字母。换一个：--name 名字",
        "wrote": "已写入 {path}",
        "next": "下一步：看一看它，然后运行 `luban {verb}{where}`",
        "comma": "、",
    },
}
REASONS: tuple[tuple[str, str], ...] = (
    (r"long: (\S+) characters on average", "长文本：平均 {0} 个字符"),
    (r"(\S+) are numbers", "{0} 是数字"),
    (r"(\S+) are numbers with the unit (\S+)", "{0} 是带单位 {1} 的数字"),
    (r"(\S+) different values in (\S+)", "{1} 行中有 {0} 个不同的值"),
    (r"the target has (\S+) distinct values(?: in (\S+) rows)?.*", "目标有 {0} 个不同的值"),
    (r"unique values, and named like an id", "值不重复，名字像编号"),
    (r"counts the rows", "逐行计数"),
    (r"(\S+) distinct values, (\S+) characters on average", "{0} 的值各不相同，平均 {1} 个字符"),
    (r"(\S+) distinct values", "{0} 的值各不相同"),
    (r"(\S+) are dates or times", "{0} 是日期或时间"),
    (r"numbers, but only (\S+) different ones", "数字，但只有 {0} 个不同的值"),
    (r"leading zeros: codes, not numbers", "以 0 开头：是编码而不是数字"),
    (r"lists", "列表"),
    (r"(\S+) labels that come again, between them (.+)", "{0} 个反复出现的标签，之间为 {1}"),
    (r"nothing in the sample to judge by", "样本中没有值"),
    (r"nothing else fits", "没有更合适的类型"),
)
"""Why a column was taken for what it is: the reasons of column types are English; these are translated."""


def reason_words(reason: str, language: Language) -> str:
    """The reason for a column's type in a language; as it is where there is no translation.

    >>> reason_words("long: 60 characters on average", "zh")
    '长文本：平均 60 个字符'
    """
    for pattern, words in REASONS if language != "en" else ():
        if match := re.fullmatch(pattern, reason):
            return words.format(*match.groups())
    return reason


def in_words(name: str, figure: str, language: Language) -> str:
    """A figure that is a word of ours, in a language: a kind of personal data, writings, a reason."""
    if name == "kind":
        return KIND_WORDS[language].get(figure, figure)
    if name == "why":
        return reason_words(figure, language)
    if name == "shares":
        for script, word in SCRIPT_WORDS[language].items():
            figure = figure.replace(script, word)
    return figure
