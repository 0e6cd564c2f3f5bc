"""The whole service on one machine without a container engine: `make stack`, or `python -m deploy.stack`.

What runs is in `stack.toml`, what stands before the two replicas in `nginx.conf`; the rest of the folder starts and
stops it. docs/deployment.md is the guide.
"""
