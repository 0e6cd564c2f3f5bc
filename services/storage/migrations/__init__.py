"""Alembic migrations, run by `Database.open`. One file per change in `versions/`, never edited after a release."""
