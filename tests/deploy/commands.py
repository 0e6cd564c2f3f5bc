"""Command lines of compose file, images and chart, read the way `arr` reads them, without doing anything."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from arr.main import app

_IN_A_SCRIPT = re.compile(r"\barr (.+?)(?=; fi|$)", re.MULTILINE)
_ASKED_OF_PYTHON = re.compile(r"\$\(python -c '([^']*)'\)")


def read_command(words: Sequence[str]) -> str:
    """The name of the sub-command that `arr …` calls. Raises an error of usage when it takes no such words."""
    name, *arguments = words
    assert name == "arr"
    command: Any = get_command(app)
    context = Context(command, info_name=name)
    while isinstance(command, TyperGroup):
        if not arguments:  # people write the rest
            return name
        called, command, arguments = command.resolve_command(context, arguments)
        assert called is not None
        name = called
        if isinstance(command, TyperGroup):
            context = Context(command, info_name=name, parent=context)
    command.make_context(name, list(arguments), parent=context)
    return name


def commands_in(script: str) -> list[list[str]]:
    """Every `arr …` of a shell script, as words; what Python is asked is filled in, what is redirected left out."""
    filled_in = _ASKED_OF_PYTHON.sub(lambda match: _answer_of_python(match[1]), script.replace("$$", "$"))
    lines = [match[1] for match in _IN_A_SCRIPT.finditer(filled_in)]
    words = [shlex.split(line) for line in lines if not line.startswith(("-", "="))]
    return [["arr", *(word for word in found if not word.startswith(">"))] for found in words]


def _answer_of_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
