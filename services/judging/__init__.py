"""From two images and a rubric to a verdict.

Owns prompts, the client of the judge, verdict maths, and what may be remembered of a verdict. Refuses to own rewards
policy, HTTP of our own service, and storage: the cache here is an interface with an in-memory implementation.

The one rule: a judge's failure is typed data (`JudgeFailure`), never a number.
"""
