"""What outlives a process: rubric versions, their aliases, verdicts, judgements, and the images that are kept of them.

Owns the tables, their migrations and one small repository per kind of thing. Knows nothing of HTTP or of how a judge is
asked. The one rule: rows are written once; only an alias ever moves.
"""
