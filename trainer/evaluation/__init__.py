"""Evaluation during training: fixed prompts and noises, two judges side by side, diversity, and an alarm."""

from trainer.evaluation.evaluator import Evaluator
from trainer.evaluation.held_out import open_held_out_judge

__all__ = ["Evaluator", "open_held_out_judge"]
