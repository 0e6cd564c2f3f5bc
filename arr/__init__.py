"""The `arr` command: the composition root, the only package that may import all others.

One small module per sub-command; a module's top level imports typer, rich and the standard library, nothing heavier, so
that `arr --help` is instant and works without the extras that a command needs.
"""
