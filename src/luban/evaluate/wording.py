"""All words of reports and model cards, by language. Every language has the same keys and the same blanks.

Texts with blanks are filled by `str.format`. Figures are formatted elsewhere; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from luban.evaluate.page.words import SECTIONS
from luban.evaluate.page.words_gates import GATES
from luban.evaluate.page.words_metrics import METRIC_NAMES as METRIC_NAMES

Language = Literal["en", "zh"]

GATE_TITLES: dict[Language, dict[str, str]] = {
    "en": {},  # gates are asked in English; their own titles stand
    "zh": {
        "G001": "是否胜过最简单的基线？",
        "G002": "测试数据是否从未见过？",
        "G003": "导出后的答案是否与训练时一致？",
        "G004": "答案是否不受同批其他行影响？",
        "G005": "是否在预算之内？",
        "G006": "是否写明负责人与用途？",
    },
}

TEXT: dict[Language, dict[str, str]] = {
    "en": {
        "before_percent": "\u00a0",
        "says_classes": "The model is right on {model} ({low}–{high}) of unseen rows; guessing the most frequent "
        "label gives {other}.",
        "says_values": "The model is off by {model} ({low}–{high}) on average on unseen rows; always guessing the "
        "same value is off by {other}.",
        "says": "On unseen rows {metric} is {model} ({low}–{high}); the best answer without looking has {other}.",
        "says_nothing": "There is no figure that says how good the model is: {reason}.",
        "gates_all": "All gates are passed.",
        "gates_some": "{failed} of {all} gates stand in the way of a release.",
        "gates_forced": "Released in spite of {failed} of {all} gates. The reason given: {reason}",
        "gates_stop": "It is not released, because {failed} of {all} gates failed:",
        "gates_stop_todo": 'Mend it and run again, or release in spite of it with a reason that is kept: --force "…".',
        "gates_none": "No gate has been asked yet.",
        "version_line": "{name} version {number}{aliases}, identity {identity}",
        "version_aliases": " ({names})",
        "version_report": "report: {path}",
        "report": "Model report",
        "model": "Model",
        "baseline": "Baseline",
        "champion": "Champion",
        "uncompressed": "Uncompressed model",
        "owner": "Owner",
        "purpose": "Purpose",
        "nobody": "not named",
        "results": "Results on unseen rows",
        "results_note": "{rows} test rows that training never saw, with {level} intervals.",
        "metric": "Metric",
        "value": "Value",
        "interval": "Interval",
        "undefined": "not defined",
        "no_interval": "{metrics}: {reason}.",
        "comparison": "Comparison",
        "compare_better": "Against the {other}, {metric} is better by {difference} ({low} to {high}).",
        "compare_worse": "Against the {other}, {metric} is worse by {difference} ({low} to {high}).",
        "compare_chance": "Against the {other}, {metric} differs by {difference} ({low} to {high}), maybe by chance.",
        "compare_none": "A comparison with the {other} is not possible: {reason}.",
        "mcnemar": "Of the rows on which just one of the two is right, the model has {model} and the {other} {them} "
        "(McNemar's exact test, p = {p}).",
        "per_class": "By class",
        "class": "Class",
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1",
        "support": "Rows",
        "answered": "Answered",
        "confusion": "Confusion matrix",
        "confusion_note": "A line is a true class, a column what the model answered; shades are shares of the line.",
        "confusions": "Most frequent mistakes",
        "truth": "Truth",
        "answer": "Answer",
        "rows": "Rows",
        "calibration": "Calibration",
        "calibration_note": "When the model is so sure (across), it is right so often (up); on the line, it is honest. "
        "Dots grow with the number of rows.",
        "calibration_scaled": "Calibration error {before} before and {after} after temperature scaling "
        "(temperature {temperature}).",
        "calibration_plain": "Calibration error {after}.",
        "confidence": "confidence",
        "accuracy": "right",
        "coverage": "Interval of a value",
        "coverage_note": "The interval given with a value holds the truth in {found} of test rows (promised: "
        "{promised}); it is {width} wide on average.",
        "leaderboard": "Leaderboard",
        "leaderboard_note": "Chosen on validation rows by {loss}, lower is better; test rows were not looked at.",
        "candidate": "Candidate",
        "family": "Family",
        "status": "Status",
        "loss": "Loss",
        "seconds": "Seconds",
        "note": "Note",
        "chosen": "chosen",
        "trained": "trained",
        "skipped": "skipped",
        "refused": "refused",
        "pruned": "given up early",
        "data": "Data",
        "data_read": "Rows read",
        "data_kept": "Rows kept",
        "data_aside": "Set aside: {rule}",
        "data_train": "for training",
        "data_valid": "for validation",
        "data_test": "for the test",
        "data_changed": "Values changed by {step}",
        "data_unreadable": "Values unreadable in {column}",
        "count": "Number",
        "gates": "Gates",
        "passed": "passed",
        "failed": "failed",
        "not applicable": "not applicable",
        "todo": "To do",
        "costs": "Costs",
        "p50_ms": "One row, half of all cases",
        "p95_ms": "One row, 95 of 100 cases",
        "size_mb": "Size of the bundle",
        "train_s": "Time to train all candidates",
        "lineage": "Where it comes from",
        "method": "Method",
        "card": "Model card",
        "card_use": "Intended use",
        "card_owner": "{owner} answers for this model.",
        "card_not": "It is not meant for other decisions, nor for rows of another kind than those it was tested on.",
        "card_details": "Model details",
        "card_target": "Predicts {target} ({task}) from: {inputs}.",
        "card_limits": "Limits",
        "card_split": "Figures hold for rows like the test rows (split: {split}). Other sources, languages or later "
        "times may differ; nothing here measures that.",
        "card_rough": "Figures of these classes stand on fewer than {rows} test rows and are rough: {classes}.",
        "card_weak": "It finds {recall} of the rows of class {label}, its weakest class.",
        "card_sure": "Its confidence is off by {ece} on average: do not read it as a probability.",
        "card_forced": "It was released in spite of failed gates ({gates}): {reason}.",
        "card_groups": "No figures by groups of people were taken: the project names no such column.",
        "card_trace": "Traced by",
        "card_source": "Sections after Mitchell et al., “Model Cards for Model Reporting”, 2019.",
        "made_by": "Made by Luban. Every figure comes from the run and the data named under “Where it comes from”.",
    },
    "zh": {
        "before_percent": "",
        "says_classes": "模型在未见过的数据上答对 {model}（{low}–{high}）；总猜最常见的标签只能答对 {other}。",
        "says_values": "模型在未见过的数据上平均偏差 {model}（{low}–{high}）；总猜同一个值的偏差为 {other}。",
        "says": "在未见过的数据上，{metric}为 {model}（{low}–{high}）；不看输入时最好的答案为 {other}。",
        "says_nothing": "没有能说明模型好坏的数字：{reason}。",
        "gates_all": "全部关卡均已通过。",
        "gates_some": "{all} 道关卡中有 {failed} 道未通过，不能发布。",
        "gates_forced": "{all} 道关卡中有 {failed} 道未通过，仍然发布。所给理由：{reason}",
        "gates_stop": "{all} 道关卡中有 {failed} 道未通过，不能发布：",
        "gates_stop_todo": '请改正后重新运行；或写明理由强行发布，理由会保留：--force "…"。',
        "gates_none": "尚未经过关卡检查。",
        "version_line": "{name} 第 {number} 版{aliases}，标识 {identity}",
        "version_aliases": "（{names}）",
        "version_report": "报告：{path}",
        "report": "模型报告",
        "model": "模型",
        "baseline": "基线",
        "champion": "现任冠军",
        "uncompressed": "压缩前的模型",
        "owner": "负责人",
        "purpose": "用途",
        "nobody": "未写明",
        "results": "在未见过数据上的结果",
        "results_note": "{rows} 行测试数据，训练从未见过；附 {level} 区间。",
        "metric": "指标",
        "value": "数值",
        "interval": "区间",
        "undefined": "无定义",
        "no_interval": "{metrics}：{reason}。",
        "comparison": "比较",
        "compare_better": "与{other}相比，{metric}改善了 {difference}（{low} 至 {high}）。",
        "compare_worse": "与{other}相比，{metric}变差了 {difference}（{low} 至 {high}）。",
        "compare_chance": "与{other}相比，{metric}相差 {difference}（{low} 至 {high}），可能只是偶然。",
        "compare_none": "无法与{other}比较：{reason}。",
        "mcnemar": "在只有一方答对的行中，模型答对 {model} 行，{other}答对 {them} 行（McNemar 精确检验，p = {p}）。",
        "per_class": "各类别",
        "class": "类别",
        "precision": "精确率",
        "recall": "召回率",
        "f1": "F1",
        "support": "行数",
        "answered": "答为此类",
        "confusion": "混淆矩阵",
        "confusion_note": "每一行是真实类别，每一列是模型的答案；颜色深浅为该行中的比例。",
        "confusions": "最常见的错误",
        "truth": "真实",
        "answer": "答案",
        "rows": "行数",
        "calibration": "校准",
        "calibration_note": "横轴为模型的把握，纵轴为实际答对的比例；落在线上说明把握可信。圆点越大，行数越多。",
        "calibration_scaled": "温度缩放前校准误差 {before}，缩放后 {after}（温度 {temperature}）。",
        "calibration_plain": "校准误差 {after}。",
        "confidence": "把握",
        "accuracy": "答对",
        "coverage": "数值区间",
        "coverage_note": "随数值给出的区间在 {found} 的测试行中包含真实值（承诺：{promised}）；平均宽度 {width}。",
        "leaderboard": "候选模型排行",
        "leaderboard_note": "按验证数据上的{loss}选择，越低越好；选择时未看测试数据。",
        "candidate": "候选",
        "family": "模型族",
        "status": "状态",
        "loss": "损失",
        "seconds": "秒",
        "note": "备注",
        "chosen": "选中",
        "trained": "已训练",
        "skipped": "已跳过",
        "refused": "不适用",
        "pruned": "提前放弃",
        "data": "数据",
        "data_read": "读入行数",
        "data_kept": "保留行数",
        "data_aside": "搁置：{rule}",
        "data_train": "用于训练",
        "data_valid": "用于验证",
        "data_test": "用于测试",
        "data_changed": "由“{step}”修改的值",
        "data_unreadable": "{column} 中无法读取的值",
        "count": "数量",
        "gates": "关卡",
        "passed": "通过",
        "failed": "未通过",
        "not applicable": "不适用",
        "todo": "应做",
        "costs": "成本",
        "p50_ms": "单行，半数情况",
        "p95_ms": "单行，95% 的情况",
        "size_mb": "模型包大小",
        "train_s": "训练全部候选用时",
        "lineage": "来源",
        "method": "方法",
        "card": "模型卡",
        "card_use": "预期用途",
        "card_owner": "{owner} 对本模型负责。",
        "card_not": "不适用于其他决策，也不适用于与测试数据不同类的数据。",
        "card_details": "模型说明",
        "card_target": "预测 {target}（{task}），依据：{inputs}。",
        "card_limits": "局限",
        "card_split": "以上数字适用于与测试数据相似的数据（划分方式：{split}）。"
        "其他来源、语言或更晚的时间可能不同，此处未作衡量。",
        "card_rough": "以下类别的测试数据少于 {rows} 行，数字较为粗略：{classes}。",
        "card_weak": "最弱的类别是“{label}”，只找出其中 {recall} 的行。",
        "card_sure": "其把握平均偏离 {ece}，不可当作概率使用。",
        "card_forced": "在关卡 {gates} 未通过的情况下发布，理由：{reason}。",
        "card_groups": "未按人群分组衡量：项目没有标明这样的列。",
        "card_trace": "溯源",
        "card_source": "章节依照 Mitchell 等《Model Cards for Model Reporting》（2019）。",
        "made_by": "由鲁班生成。所有数字均来自“来源”一节所列的运行与数据。",
    },
}


for _language, _section in SECTIONS.items():
    TEXT[_language] |= _section


for _language, _section in GATES.items():
    TEXT[_language] |= _section


def said(sentences: Sequence[Mapping[str, Any]], language: Language) -> str:
    """Sentences by key and values as text; values may be sentences themselves."""
    space = "" if language == "zh" else " "
    return space.join(_one(sentence, language) for sentence in sentences)


def _one(sentence: Mapping[str, Any], language: Language) -> str:
    values = sentence["values"].items()
    filled = {name: value if isinstance(value, str) else _one(value, language) for name, value in values}
    if "metric" in filled:
        filled["metric"] = metric_words(filled["metric"], language)[0]
    return TEXT[language][sentence["key"]].format(**filled)


def words(language: Language) -> Mapping[str, str]:
    """All texts of a language."""
    return TEXT[language]


def metric_words(name: str, language: Language) -> tuple[str, str]:
    """A metric's name and a phrase that explains it; a plug-in's metric explains itself by its name."""
    return METRIC_NAMES[language].get(name, (name, ""))
