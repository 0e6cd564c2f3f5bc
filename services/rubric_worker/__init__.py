"""Long work behind the service: jobs are claimed from the database, done, and their results published.

Owns the worker and the kinds of jobs. Knows nothing of HTTP. The one rule: a job that is begun again ends with the same
result: everything random follows from its seed, everything paid for is remembered, and everything published goes
through `RunningJob.commit`.
"""
