"""Which words of a rubric text ask for which property, in English and Chinese.

Owns the vocabulary; what the properties are and how they are measured is `properties`.

The one rule: words are looked for property by property, and a word once found asks for nothing else: "a second colour"
is about evenness, and no longer about colour.
"""

import re

from services.judging.pixel_judge.properties import Property

_ENGLISH = {
    Property.UNIFORM: r"clean\w*|uniform\w*|even(ly)?|flat|solid|spot(s|ted|less)?|stains?|gradients?|mottled|blotch\w*"
    r"|patch\w*|gloss\w*|smooth\w*|(second|one|single) colou?r",
    Property.BACKGROUND: r"backgrounds?|backdrop",
    Property.COLOURFULNESS: r"colou?rful\w*|vivid\w*|vibran\w*|saturat\w*",
    Property.PRESERVATION: r"preserv\w*|unchanged|untouched|intact|rest of the|keeps?",
    Property.EDITED: r"edit(s|ed)?|instructions?|was (made|applied)",
    Property.COLOUR: r"colou?r(s|ed)?|hues?|red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ae]y",
    Property.SHAPE: r"shape[ds]?|outlines?|silhouettes?|contours?|circles?|circular|round|squares?|triang\w*|corners?",
    Property.COUNT: r"counts?|number|how many|quantit\w*",
    Property.SHARPNESS: r"sharp\w*|crisp\w*|blur\w*|(in|out of) focus|edges?",
    Property.BRIGHTNESS: r"bright\w*|well[- ]lit|dark|exposure|lighting",
    Property.CONTRAST: r"contrast\w*",
    Property.NOISE: r"nois\w*|grain\w*|arte?facts?",
}
"""Whole words, in the order in which they are looked for."""

_CHINESE = {
    Property.UNIFORM: "均匀|干净|纯净|平整|平滑|光滑|斑点|斑驳|污点|污渍|渐变|色块|杂色|(单一|第二种)颜色",
    Property.BACKGROUND: "背景",
    Property.COLOURFULNESS: "鲜艳|艳丽|饱和|(色彩|颜色)(鲜明|丰富|浓郁)",
    Property.PRESERVATION: "保留|保持不变|保持原样|保持一致|未(被)?改[动变]|完好|其余部分",
    Property.EDITED: "编辑|指令|改动|修改",
    Property.COLOUR: "颜色|色彩|色调|色相|[红橙黄绿蓝紫粉棕褐黑白灰]色",
    Property.SHAPE: "形状|外形|轮廓|剪影|圆形|方形|三角形",
    Property.COUNT: "数量|数目|个数|多少",
    Property.SHARPNESS: "清晰|锐利|模糊|对焦|失焦|边缘",
    Property.BRIGHTNESS: "明亮|亮度|曝光|光线|光照|昏暗|过暗",
    Property.CONTRAST: "对比",
    Property.NOISE: "噪点|噪声|颗粒|伪影",
}
"""Found anywhere: Chinese is written without blanks between words."""

_PATTERNS = {
    prop: re.compile(rf"\b({words})\b|{_CHINESE[prop]}", re.IGNORECASE | re.ASCII) for prop, words in _ENGLISH.items()
}


def named_properties(text: str) -> frozenset[Property]:
    """Properties that a piece of rubric text asks for."""
    found = set()
    for prop, pattern in _PATTERNS.items():
        text, num_hits = pattern.subn(" ", text)
        if num_hits:
            found.add(prop)
    return frozenset(found)
