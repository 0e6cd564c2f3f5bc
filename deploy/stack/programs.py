"""Where a program is, and as whom it runs: PATH, this interpreter's own folder, and where Debian hides its servers."""

import os
import pwd
import shutil
import sys
from pathlib import Path

from deploy.stack.process_file import ProcessSpec, StackError


def find_program(spec: ProcessSpec) -> str:
    """The path of the process's program. Raises `StackError` with the package to install."""
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]), reverse=True)
    folders = [Path(sys.executable).parent, *os.get_exec_path(), "/usr/sbin", *postgres]
    program = spec.command[0]
    if (found := shutil.which(program, path=os.pathsep.join(map(str, folders)))) is None:
        hint = f"; on Debian: apt-get install {spec.package}" if spec.package else ""
        raise StackError(f"{spec.name} needs {program}, which is not installed{hint}")
    return found


def user_of(spec: ProcessSpec) -> str | None:
    """As whom to run it; none = as whoever starts the stack. Raises `StackError` when there is no such user."""
    if os.geteuid() != 0 or spec.instead_of_root is None:
        return None
    try:
        pwd.getpwnam(spec.instead_of_root)
    except KeyError:
        raise StackError(f"{spec.name} does not run as root, and there is no user {spec.instead_of_root}") from None
    return spec.instead_of_root


def prepare_folder(spec: ProcessSpec) -> None:
    """Make the process's folder, which nobody else may enter. Raises `StackError`."""
    if spec.folder is None:
        return
    try:
        spec.folder.mkdir(parents=True, exist_ok=True)
        spec.folder.chmod(0o700)
        if (user := user_of(spec)) is not None:
            shutil.chown(spec.folder, user)
    except OSError as error:
        raise StackError(f"{spec.name} cannot have its folder: {error}") from error


def dying_with_its_parent(command: list[str]) -> list[str]:
    """The same command, asked to end when the process that started it is killed, where the system can do that."""
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else [setpriv, "--pdeathsig", "TERM", "--", *command]
