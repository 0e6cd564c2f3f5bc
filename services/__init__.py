"""Processes of the service: judging, storage, the HTTP API. Never imports torch or the trainer."""
