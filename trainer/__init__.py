"""Trains image generators on rewards that come over HTTP.

Owns sampling, the RPO update, checkpoints, evaluation and export. Talks to the reward service through `reward_client`
only and never imports `services`.
"""
