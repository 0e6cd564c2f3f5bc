"""`arr jobs …`, and what every command does that starts a job: follow it, say how it ended, write its report.

Knows the kinds of results that there are and how they read; what a job does is the service's. The one rule: a job is
never stopped because somebody stops watching it.
"""
