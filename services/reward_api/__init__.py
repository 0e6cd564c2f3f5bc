"""The reward service over HTTP: `/rubrics`, `/reward`, health and metrics.

Owns the wire: what is accepted, what is refused and how each refusal reads. How a pair is judged belongs to
`services.judging`, what is kept to `services.storage`. The one rule: everything wrong with a request is said before the
judge is asked, and nothing that goes wrong later becomes a number.
"""
