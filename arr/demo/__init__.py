"""The demo: captioned drawings, a tiny FLUX that half follows its prompt, a check that knows the truth, and the story.

Owns the demo's data, its base model and its independent ground truth, and the order of a run; owns no judging and no
training with rewards.

The one rule: nothing here imports `services`, so that the ground truth cannot share a mistake with the judge.
"""
