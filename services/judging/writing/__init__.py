"""What is asked of a model that writes rubrics: its messages, in English and Chinese, and the shapes of its answers.

Owns the questions of learning: propose criteria, revise them, group them into themes, check that none got lost, and
explain a label; reason before criteria are written, diagnose what they miss, and extract new ones from that. Refuses to
send them (`services.judging.chat`) and to believe the answers.

The one rule: text from outside is data. It stands in fences, before the question, as in every prompt of the judge.
"""

from services.judging.writing.messages import (
    coverage,
    diagnose,
    explain,
    extract,
    propose,
    reason,
    revise,
    structure,
)
from services.judging.writing.shapes import (
    Assignment,
    Coverage,
    CoverageEntry,
    Critique,
    Diagnosis,
    LabelledImages,
    Proposal,
    ProposedCriterion,
    Rationale,
    Reasoned,
    Structure,
    StructuredTheme,
)

__all__ = [
    "Assignment",
    "Coverage",
    "CoverageEntry",
    "Critique",
    "Diagnosis",
    "LabelledImages",
    "Proposal",
    "ProposedCriterion",
    "Rationale",
    "Reasoned",
    "Structure",
    "StructuredTheme",
    "coverage",
    "diagnose",
    "explain",
    "extract",
    "propose",
    "reason",
    "revise",
    "structure",
]
