"""The method `arr`: propose, verify blind, revise, select, structure (arXiv 2605.08354 and 2510.17314).

Owns how criteria come to be and which are kept; asking is the `Desk`'s, publishing the learning job's. docs/learning.md
describes every step and where it differs from the reference implementation.

The one rule: whoever verifies does not know what people said. Labels are laid beside the judge's answers afterwards.
"""

from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.method import learn

__all__ = ["Context", "learn"]
