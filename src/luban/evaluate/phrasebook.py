"""Sentences that other parts say in English, in the report's language: notes, reasons, refusals.

Decided here: whoever says why a candidate was refused or a figure is missing (families, steps, metrics, plug-ins)
knows no language, so that adding one stays one file. A sentence is found whole, by its fixed words; what stands in its
blanks is looked up in turn. What is not in the book stays as it was said. A test holds every English side to the
sources, so that no phrase is left behind when its sentence changes.
"""

from __future__ import annotations

import re
from functools import cache

CHINESE: tuple[tuple[str, str], ...] = (
    # how it was measured
    (
        "Values by scikit-learn. {level} percentile intervals over {number} bootstrap resamples of the test rows "
        "(Efron 1979); shares of none or all by Wilson. Differences are paired: both models on the same resamples. "
        "McNemar's exact test compares who is right where only one is. Calibration error over {bins} equal bins of "
        "confidence (Guo et al. 2017).{more}",
        "数值由 scikit-learn 计算。{level} 百分位区间来自对测试行的 {number} 次自助重抽样（Efron 1979）；"
        "全无或全有的占比用 Wilson 区间。差值是成对的：两个模型用相同的重抽样。"
        "McNemar 精确检验比较只有一方答对的行。校准误差按把握分 {bins} 等份"
        "（Guo 等 2017）。{more}",
    ),
    (
        " Rows of one subject or group hang together: resamples draw {number} such clusters, not rows, and McNemar's "
        "test, which knows none, is too sure of itself.",
        "同一主体或同一组的行彼此相关：重抽样抽取 {number} 个这样的整体而不是行；"
        "McNemar 检验不了解这一点，因此过于自信。",
    ),
    # what prepare has to say
    ("Column `{column}` is not learnt from: it {why}.", "列 `{column}` 没有用于学习：{why}。"),
    ("has no value in any row", "所有行都没有值"),
    ("has the same value in every row", "所有行的值都相同"),
    ("holds {what}: {todo}", "其中是{what}，{todo}"),
    ("objects", "对象"),
    ("lists of lists or objects", "列表或对象的列表"),
    ("lists of decimal numbers", "小数列表"),
    ("bytes", "字节"),
    ("write each of their fields as a column of its own", "请把每个字段写成单独的列"),
    ("write what is in them as columns of their own", "请把其中的内容写成单独的列"),
    ("write each number as a column of its own", "请把每个数写成单独的列"),
    (
        "write them as text, as numbers or as pictures (PNG, JPEG, WebP, BMP, GIF)",
        "请写成文本、数字或图片（PNG、JPEG、WebP、BMP、GIF）",
    ),
    (
        "Column `{column}`: {count} values cannot be read and count as missing.",
        "列 `{column}`：{count} 个值无法读取，按缺失处理。",
    ),
    (
        "{count} rows have an empty `{target}` and count as rows without any label; if it means that nobody has looked "
        "at them, say so in the settings of the column type `{kind}`.",
        "{count} 行的 `{target}` 为空，按没有任何标签处理；如果意思是还没有人看过，请在列类型 `{kind}` 的设置中说明。",
    ),
    ("{count} rows: {reason}.", "{count} 行：{reason}。"),
    (
        "equal inputs in so many rows that they are taken for coincidence and not kept together",
        "输入相同的行太多，视为巧合，没有放在同一部分",
    ),
    ("The split has {note}.", "划分的结果：{note}。"),
    ("no row for {part}: too few rows", "行数太少，没有分给{part}的行"),
    ("Class `{value}` has one row; it is kept in {part}.", "类别 `{value}` 只有一行，留在{part}中。"),
    (
        "Class `{value}` has {count} rows and none of them in the test.",
        "类别 `{value}` 有 {count} 行，测试集中一行也没有。",
    ),
    ("training", "训练集"),
    ("validation", "验证集"),
    ("test", "测试集"),
    # why a figure is missing
    ("no test row is of the second class", "测试行中没有第二个类别"),
    ("no test row is of the second class, and none is predicted to be", "测试行中没有第二个类别，也没有预测为它的行"),
    ("no test row has a tag, and none is given one", "测试行都没有标签，也没有给出标签"),
    ("all test rows are of one class", "测试行同属一个类别"),
    ("no tag tells test rows apart", "没有能区分测试行的标签"),
    ("all test rows are of one class, and all are answered so", "测试行同属一个类别，而且都答成它"),
    ("the test rows' targets are all equal", "测试行的目标值都相等"),
    ("the figure is not finite", "数值不是有限的"),
    ("fewer than half of the resamples define it", "有定义的重抽样不到一半"),
    ("too few resamples define the metric for both", "两者都有定义的重抽样太少"),
    ("the test rows are of one class, so nothing can be ranked", "测试行同属一个类别，无法排序"),
    (
        "this task's answers have neither one class nor one value a row",
        "这个任务的答案既不是每行一个类别，也不是每行一个值",
    ),
    ("costs are stated by class, and this task has no classes", "费用按类别给出，而这个任务没有类别"),
    ("there are no validation rows to choose on", "没有可供选择的验证行"),
    ("one row has no spread", "只有一行，没有离散程度"),
    ("there are no other rows", "没有其他行"),
    ("there are no other rows that do not hang together", "没有其他彼此无关的行"),
    ("all these rows hang together", "这些行彼此相关"),
    ("the figure is the same in all rows", "所有行的数值都相同"),
    (
        "no part of the test rows has {count} rows or more and leaves others",
        "测试行中没有哪一部分达到 {count} 行并且还留有其他行",
    ),
    ("it changes no row", "没有改变任何一行"),
    ("no changed row got an answer", "改变后的行都没有得到答案"),
    ("one row, or rows that all hang together, have no interval", "只有一行，或各行彼此相关，因此没有区间"),
    # the leaderboard
    ("max_candidates ({number}) reached", "已达 max_candidates（{number}）"),
    ("time_budget_s ({number}) spent", "time_budget_s（{number} 秒）已用完"),
    (
        "reads these columns only through a converter; name it in `train.models` to try it",
        "只能通过转换器读取这些列；在 `train.models` 中写明才会尝试",
    ),
    ('needs {library}; run: pip install "luban[{extra}]"', '需要 {library}；请运行 pip install "luban[{extra}]"'),
    (
        "it learns from outputs on rows that its members never saw: set `train.folds`",
        "它要从成员没见过的行上的输出学习：请设置 `train.folds`",
    ),
    ("a vote needs at least two finished candidates", "投票至少需要两个训练好的候选"),
    ("{family} has no head `{head}`", "{family} 没有 `{head}` 这种输出"),
    ("no column gives what {family} reads ({reasons})", "没有列能提供 {family} 所需的输入（{reasons}）"),
    ("there are no columns", "没有列"),
    (
        "naive-Bayes weights need classes, but the target is a number; use `weighting: tfidf`",
        "朴素贝叶斯权重需要类别，而目标是数字；请用 `weighting: tfidf`",
    ),
    ("trees have one number, but the target has {width}", "树只能给出一个数，而目标有 {width} 个"),
    ("{rounds} rounds of trees", "{rounds} 轮树"),
    ("{low} to {high} rounds of trees", "{low} 至 {high} 轮树"),
    ("constants alone", "只有常数"),
    ("{name} alone", "只有 {name}"),
    ("{drawn} rows drawn of {count}", "从 {count} 行中抽取 {drawn} 行"),
    (
        "{drawn} rows drawn of {count}, since this family knows no weights",
        "从 {count} 行中抽取 {drawn} 行，因为这类模型不支持权重",
    ),
    (
        "{about}: loss {loss} on {share} of the rows, not in the best third of {number}",
        "{about}：在 {share} 的行上损失为 {loss}，不在 {number} 次中最好的三分之一",
    ),
    # networks
    (
        "at step {step} {what}: training ended with the best weights before it. {todo}",
        "第 {step} 步时{what}：训练结束，取之前最好的权重。{todo}",
    ),
    ("At the first step {what}, so nothing could be learnt.", "第一步时{what}，因此什么也没学到。"),
    (
        "after step {step} the validation loss was {found}: training ended. {todo}",
        "第 {step} 步后验证损失为 {found}：训练结束。{todo}",
    ),
    (
        "No validation loss was finite in {step} steps, so there is no model.",
        "{step} 步中没有一次验证损失是有限的，因此没有模型。",
    ),
    ("the loss was {loss}", "损失为 {loss}"),
    ("the gradients' norm was {norm}", "梯度的范数为 {norm}"),
    (
        "Try a smaller `learning_rate`, a longer `warmup`, a smaller `clip_norm`, or `precision: fp32`.",
        "可以试试更小的 `learning_rate`、更长的 `warmup`、更小的 `clip_norm` 或 `precision: fp32`。",
    ),
    (
        "memory was short at step {step}: batches of {size} rows are worked through in {pieces} pieces, "
        "their gradients summed",
        "第 {step} 步内存不足：每批 {size} 行分成 {pieces} 份计算，梯度相加",
    ),
    (
        "frozen layers are computed anew each epoch: kept, they would take {size} GiB",
        "冻结的层每轮重新计算：保留下来要占 {size} GiB",
    ),
    ("what an earlier process left could not be used: {reason}", "上一个进程留下的内容无法使用：{reason}"),
    (
        "the head begins anew: it had {before} outputs, and has {after}",
        "输出层重新开始：原来有 {before} 个输出，现在有 {after} 个",
    ),
    ("{new} of {all} entries of `{column}` are new", "`{column}` 的 {all} 个条目中有 {new} 个是新的"),
    ("it is of other rows or settings", "它属于其他行或其他设置"),
    ("it is damaged ({error})", "它已损坏（{error}）"),
    (
        "Memory is too short to train on a single row (step {step}): {error}",
        "内存不足，连一行也无法训练（第 {step} 步）：{error}",
    ),
    # what columns can give
    ("a {kind} column gives {given}, not {wanted}", "{kind} 类型的列给出 {given}，不是 {wanted}"),
    ("pixels and edges of a picture are scaled together, not by ranks", "图片的像素与边缘一起缩放，不按名次"),
    (
        "the converter {name} gives {given}, which {family} does not read",
        "转换器 {name} 给出 {given}，{family} 不读取它",
    ),
    ("no column can feed the converter {name} ({reasons})", "没有列能供转换器 {name} 使用（{reasons}）"),
    (
        "Training rows must show at least two classes, but they all have the same.",
        "训练行至少要有两个类别，但它们都属于同一个。",
    ),
    (
        "`train.folds` must find two rows or more that do not hang together, but all are one unit.",
        "`train.folds` 需要两行以上彼此无关的行，但所有行是一个整体。",
    ),
    # compression
    ("There are no validation rows to judge it by.", "没有可供评判的验证行。"),
    (
        "before it was fitted again the model cannot be compressed, so that nothing says what is lost: {reason}",
        "重新训练之前的模型无法压缩，因此无从知道损失多少：{reason}",
    ),
    (
        "the graph has no product with at least {weights} float weights and no table of at least {values} values",
        "图中没有至少含 {weights} 个浮点权重的乘法，也没有至少含 {values} 个值的表",
    ),
    ("it cannot be quantised: {error}", "无法量化：{error}"),
    # gates that could not be asked
    ("The gate could not be asked: {error}", "无法检查这道关卡：{error}"),
    ("The gate itself broke: {error}", "这道关卡自身出错：{error}"),
    (
        "Mend what the error says, or leave this gate out of `release.gates`; report it if it is one of Luban's own.",
        "请按错误信息改正，或从 `release.gates` 中去掉这道关卡；如果它是鲁班自带的，请报告。",
    ),
    ("The compressed bundle is refused. {message}", "压缩后的模型包未通过检查。{message}"),
)  # fmt: skip


def translated(sentence: str, language: str) -> str:
    """A sentence in the report's language, if the book has it; several stand apart by `; `.

    >>> translated("61 rounds of trees; 70 rounds of trees", "zh"), translated("trees 0.4, vote 0.6", "zh")
    ('61 轮树；70 轮树', 'trees 0.4, vote 0.6')
    """
    if language == "en" or not sentence:
        return sentence
    whole = _found(sentence, language)
    if whole is not None:
        return whole
    parts = sentence.split("; ")
    said = [_found(part, language) for part in parts]
    if not any(said):
        return sentence
    return "；".join(new or old for new, old in zip(said, parts, strict=True))


def _found(sentence: str, language: str) -> str | None:
    """The sentence as the book has it; else without its full stop, or what stands behind a name and a colon."""
    for pattern, to in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            return to.format(**{name: translated(value, language) for name, value in found.groupdict().items()})
    if sentence[:1].isupper() and sentence.endswith("."):
        whole = _found(sentence[0].lower() + sentence[1:-1], language)
        return None if whole is None else f"{whole}。"
    about, colon, rest = sentence.partition(": ")
    said = _found(rest, language) if colon else None
    return None if said is None else f"{about}：{said}"


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Phrases as patterns, those of more fixed words first."""
    ordered = sorted(CHINESE, key=lambda pair: -len(re.sub(r"\{\w+\}", "", pair[0])))
    return tuple((re.compile(_pattern(phrase), re.DOTALL), to) for phrase, to in ordered)


def _pattern(phrase: str) -> str:
    """A pattern of the whole phrase; `{more}` may be empty, other blanks hold something."""
    pieces = re.split(r"\{(\w+)\}", phrase)
    fixed = [re.escape(piece) for piece in pieces[::2]]
    blanks = [f"(?P<{name}>.{'*' if name == 'more' else '+?'})" for name in pieces[1::2]]
    return "".join(text for pair in zip(fixed, [*blanks, ""], strict=True) for text in pair)
