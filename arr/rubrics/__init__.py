"""`arr rubrics …`: rubric sets as files and on a terminal.

Owns how a set is written down outside the service: JSON, YAML, and the plain text of the method's reference
implementation. Versions, aliases and digests are the service's. The one rule: what a form cannot hold is refused, never
dropped.
"""
