"""Methods that learn rubric sets from labelled pairs: a package each, which knows criteria, and publishes nothing.

Beside them stands what both work with: labels, opinions, the lint, statements and their vectors. The one rule: no
method knows of another.
"""
