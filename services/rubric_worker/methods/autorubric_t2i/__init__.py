"""The method `autorubric_t2i`: sparse weighted criteria for single images (arXiv 2605.17602).

Owns how candidates come to be, how they are weighed, and what is done about pairs that are still ranked wrongly. Asking
is the `Desk`'s, publishing the learning job's. docs/learning.md describes every step, and says which of its values the
paper publishes and which are this project's.

The one rule: the judge scores one image by one criterion, and knows neither the other image nor the label.
"""

from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.method import learn

__all__ = ["Context", "learn"]
