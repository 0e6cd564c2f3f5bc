"""What a service or a worker makes sure of before it starts: a folder that can be written, a database that answers.

The one rule: what is wrong is one line without a password in it, and nothing has been started by then.
"""

import os
from pathlib import Path

from arr.console import ExitCode, fail


def ensure_writable(folder: Path) -> None:
    """Make the data directory; ends the command with one line when files cannot be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot create the data directory {folder}: {error.strerror} (--data-dir)", code=ExitCode.USAGE)
    if not os.access(folder, os.W_OK | os.X_OK):
        fail(f"the data directory {folder} is not writable (--data-dir)", code=ExitCode.USAGE)


def ensure_database(url: str) -> None:
    """Connect to the database and bring it up to date; ends the command with one line when that cannot be done."""
    import asyncio

    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from services.storage.database import Database, DatabaseTooNewError

    async def open_and_close() -> None:
        database = await Database.open(url)
        await database.close()

    name = make_url(url).render_as_string(hide_password=True)
    try:
        asyncio.run(open_and_close())
    except DatabaseTooNewError as error:
        fail(f"{error}; install that release, or restore a copy from before ({name})")
    except ImportError as error:
        fail(f"{error}: install rubric-reward[postgres] ({name})")
    except SQLAlchemyError as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        fail(f"the database cannot be used: {reason} (ARR_DATABASE_URL: {name})")
