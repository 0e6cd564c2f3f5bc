"""The maths of training, on tensors alone: stochastic samplers, advantages, losses.

Imports torch and nothing else, so that each formula can be checked against a hand-computed number.
"""
