"""Which criteria are refused before anybody is asked about them: what cannot be checked on one image alone.

Owns the rules in English and Chinese, whatever language the set is in. The one rule: it is about the form of a
statement; whether it is true of what people prefer is for the verifier.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.judging.writing import ProposedCriterion

MAX_STATEMENT_CHARS = 300

MAX_THEME_CHARS = 200
"""As many as a criterion of a rubric set may have."""

_CANDIDATE = r"(?:images?|pictures?|photos?|candidates?|options?|versions?|responses?|outputs?|results?)"
_RIVAL = (
    r"(?:the\s+)?(?:other|another|rival|alternative|opposing|competing|first|second)"
    rf"(?:\s+(?:one|{_CANDIDATE})\b|(?=\s*(?:$|[.,;:!?])))"
)
"""Not "the other dog": that may well be in the same picture."""

_COMPARISONS = re.compile(
    rf"\b(?:better|worse|superior|inferior|preferable)\s+(?:than|to)\b"
    rf"|\bthan\s+(?:in\s+)?(?:{_RIVAL}|(?:the\s+)?{_CANDIDATE}\b)"
    rf"|\bcompared\s+(?:to|with)\s+{_RIVAL}"
    rf"|\bthe\s+other\s+{_CANDIDATE}\b"
    rf"|\b(?:both|either|neither|of\s+the\s+two|between\s+the\s+two)\s+(?:of\s+the\s+)?{_CANDIDATE}\b"
    rf"|\b(?:preferred|dispreferred|winning|losing)\s+{_CANDIDATE}\b",
    re.IGNORECASE,
)

_POSITIONS = re.compile(
    rf"\b(?i:{_CANDIDATE})\s*(?:(?i:no\.?|number)\s*|\#\s*)?(?:[12]|A|B)\b(?!\s*[:/.]\s*\d)"
    rf"|\b(?i:(?:the\s+)?(?:first|second|left|right|left-hand|right-hand)\s+{_CANDIDATE})\b"
    rf"|\b(?i:{_CANDIDATE}\s+(?:one|two))\b(?=\s*(?:$|[.,;:]|(?i:is|has|shows|depicts)\b))"
)

_CHINESE_COMPARISONS = re.compile(
    r"(?<![对相])比(?![例如较率重值])[^，。；！？]{0,20}?更"
    r"|优于|劣于|胜过"
    r"|(?:与|和|同)?(?:另|其他|其它)(?:外)?一?(?:张|幅|个|件)?(?:图|候选|版本|结果)"
    r"|另一(?:张|幅)|两(?:张|幅)(?:图|照|中)|二者|两者相比"
)

_CHINESE_POSITIONS = re.compile(
    r"(?:图|图像|图片|照片|候选|选项|版本|结果)\s*(?:[12一二甲乙]|A|B)(?![0-9个只条张种些样致起定次点])"
    r"|第\s*[12一二]\s*(?:张|幅|个(?:图|候选|版本|结果))"
    r"|(?:左|右|前|后)(?:边|侧|面)?的?(?:那)?(?:一)?(?:张|幅)|[左右]图"
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
    for text in (criterion.theme, statement):
        if _COMPARISONS.search(text) or _CHINESE_COMPARISONS.search(text):
            return "it compares, so it cannot be checked on one image alone"
        if _POSITIONS.search(text) or _CHINESE_POSITIONS.search(text):
            return "it names an image by its place"
    return None


def tidied(text: str) -> str:
    """One line, without control characters: what a rubric set can hold."""
    return " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())


def normalised(text: str) -> str:
    """The text without case, blanks and punctuation: equal for statements that differ in nothing else."""
    return " ".join(re.findall(r"\w+", text.casefold()))
