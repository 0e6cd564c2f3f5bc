"""What outlives a process: rubric versions, datasets, jobs, judgements, remembered answers, and image files.

Owns the tables, their migrations and one small repository per kind of thing. Knows nothing of HTTP or of how a judge is
asked. The one rule: content is written once and named by its digest; only what says something about it ever changes –
aliases, what is attached to a version, the state of a job.
"""
