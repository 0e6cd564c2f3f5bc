"""How good a judge is on labelled pairs, with a rubric set and without: accuracy, order, agreement, calibration.

Owns every figure of an `EvaluationReport`; docs/evaluation.md has them with their formulas. The statistics are pure
functions of numbers; only `asking` knows that there is a judge. The one rule: the judge is asked about an `ImagePair`,
which has no label, and what people said is laid beside its answers afterwards.
"""
