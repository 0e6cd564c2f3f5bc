"""Which criteria are refused before anybody is asked about them: what cannot be checked on one image alone.

Owns the rules in English and Chinese, whatever language the set is in. The one rule: it is about the form of a
statement; whether it is true of what people prefer is for the verifier.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.judging.writing import ProposedCriterion
from shared_schemas.rubrics import MAX_THEME_CHARS

MAX_STATEMENT_CHARS = 300

_CANDIDATE = r"(?:images?|pictures?|photos?|candidates?|options?|versions?|responses?|outputs?|results?)"
_RIVAL = (
    r"(?:the\s+)?(?:other|another|rival|alternative|opposing|competing|first|second)"
    rf"(?:\s+(?:one|{_CANDIDATE})\b|(?=\s*(?:$|[.,;:!?])))"
)
"""Not "the other dog": that may well be in the same picture."""

_COMPARISONS = re.compile(
    rf"\b(?:better|worse|superior|inferior|preferable)(?:\s+(?:than|to|one|{_CANDIDATE})\b|(?=\s*(?:$|[.,;:!?])))"
    rf"|\b(?:more|most|less|least)\s+\w+\s+{_CANDIDATE}\b"
    rf"|\bthan\s+(?:in\s+)?(?:{_RIVAL}|(?:the\s+)?{_CANDIDATE}\b|its\s+(?:rival|counterpart|competitor)s?\b)"
    rf"|\bcompared\s+(?:to|with)\s+{_RIVAL}"
    rf"|\boutperforms?\b"
    rf"|\bthe\s+other\s+{_CANDIDATE}\b"
    rf"|\b(?:both|either|neither|of\s+the\s+two|between\s+the\s+two)\s+(?:of\s+the\s+)?{_CANDIDATE}\b"
    rf"|\b(?:preferred|dispreferred|winning|losing)\s+(?:one|{_CANDIDATE})\b",
    re.IGNORECASE,
)

_PLACE = (
    r"(?:first|second|third|fourth|fifth|last|former|latter|left|right|left-hand|right-hand|leftmost|rightmost|middle)"
)

_POSITIONS = re.compile(
    rf"\b(?i:{_CANDIDATE})\s*(?:[12]|[A-H])\b(?!\s*[:/.]\s*\d)"
    rf"|\b(?<!(?i:the)\s)(?i:{_CANDIDATE})\s*[3-9]\b(?!\s*[:/.]\s*\d)"
    rf"|\b(?i:{_CANDIDATE})\s*(?:(?i:no\.?|number)|[\#(])\s*(?:[1-9]|[A-H])\b"
    rf"|\b(?i:{_PLACE}\s+{_CANDIDATE})\b"
    rf"|\b(?i:(?:one|{_CANDIDATE})\s+(?:on|to|at)\s+the\s+(?:left|right))\b(?!\s+(?i:wall|side|half|page|edge)\b)"
    rf"|\b(?i:{_CANDIDATE}\s+(?:one|two|three|four))\b(?=\s*(?:$|[.,;:]|(?i:is|has|shows|depicts)\b))"
)
"""Images 1 and 2 also after "the"; "the image 3 apples are in" is about apples."""

_CHINESE_CANDIDATE = r"(?:图像|图片|照片|作品|候选|选项|版本|结果|图(?![案形标层书表]))"

_CHINESE_COMPARISONS = re.compile(
    r"(?<![对相])比(?![例如较率重值])[^，。；！？]{0,20}?更"
    r"|优于|劣于|胜过|相比之下|前者|后者"
    r"|(?:与|和|同)?(?:另|其他|其它)(?:外)?一?(?:张|幅|个|件)?(?:图|候选|版本|结果)"
    rf"|另一(?:张|幅)|哪一?(?:张|幅)|两(?:张|幅){_CHINESE_CANDIDATE}(?:[都均中里]|之间|相比)|(?:二者|两者)(?:[都均中]|之间|相比)"
    rf"|(?:[更较][好差优佳劣]|喜欢|偏好|选中|胜出|落选)的(?:那|这)?一?(?:张|幅|个)?{_CHINESE_CANDIDATE}"
)

_CHINESE_NUMBER = r"[1-9一二三四五六]"

_CHINESE_POSITIONS = re.compile(
    r"(?:图|图像|图片|照片|作品|候选|选项|版本|结果)\s*"
    r"(?:(?:[1-9]|[A-H])(?![0-9A-Za-z个只条张种些样致起定次点分])|[一二三四五六甲乙丙丁](?=\s*(?:[的中里比更是有与和、，。：]|符合|$)))"
    rf"|第\s*{_CHINESE_NUMBER}\s*(?:张|幅|个|件)\s*(?:{_CHINESE_CANDIDATE}|(?=[的比更，。]|$))"
    rf"|[左右](?:边|侧|面)?的?那?一?(?:张|幅)?{_CHINESE_CANDIDATE}"
    r"|[左右前后](?:边|侧|面)?的?那一?(?:张|幅)|[前后]一(?:张|幅)"
    r"|(?<![A-Za-z])[A-H]\s*图(?=[的中里比更正不符])"
)

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Linted:
    """Criteria that may be asked about, with blanks tidied, and how many were refused."""

    kept: tuple[ProposedCriterion, ...]
    num_refused: int


def lint(criteria: Sequence[ProposedCriterion]) -> Linted:
    """Sort out criteria; of those that say the same, the first is kept."""
    kept: dict[str, ProposedCriterion] = {}
    for criterion in criteria:
        tidy = ProposedCriterion(theme=tidied(criterion.theme), statement=tidied(criterion.statement))
        if fault(tidy) is None:
            kept.setdefault(normalised(tidy.statement), tidy)
    return Linted(kept=tuple(kept.values()), num_refused=len(criteria) - len(kept))


def fault(criterion: ProposedCriterion) -> str | None:
    """What is wrong with one criterion; None when nothing is."""
    statement = criterion.statement
    if not normalised(statement) or not criterion.theme:
        return "it says nothing"
    if len(statement) > MAX_STATEMENT_CHARS or len(criterion.theme) > MAX_THEME_CHARS:
        return "it is too long to be one thing to check"
    return needs_a_rival(criterion.theme) or needs_a_rival(statement)


def needs_a_rival(text: str) -> str | None:
    """Why a text says nothing of an image that stands alone; None when it does."""
    if _COMPARISONS.search(text) or _CHINESE_COMPARISONS.search(text):
        return "it compares, so it cannot be checked on one image alone"
    return "it names an image by its place" if names_a_place(text) else None


def names_a_place(text: str) -> bool:
    """Whether an image is called by its number or its side, which is another one in the other order."""
    return bool(_POSITIONS.search(text) or _CHINESE_POSITIONS.search(text))


def tidied(text: str) -> str:
    """One line, without control characters: what a rubric set can hold."""
    return " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())


def normalised(text: str) -> str:
    """The text without case, blanks and punctuation: equal for statements that differ in nothing else."""
    return " ".join(re.findall(r"\w+", text.casefold()))
