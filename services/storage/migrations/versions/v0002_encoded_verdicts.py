"""Verdicts as one encoded text. They are a cache: what it held is dropped and judged again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew, an answer being one text."""
    op.drop_table("verdicts")
    op.create_table(
        "verdicts",
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_verdicts"),
    )


def downgrade() -> None:
    """Make the table anew, an answer being a row of numbers."""
    op.drop_table("verdicts")
    op.create_table(
        "verdicts",
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("log_p_first", sa.Double(), nullable=False),
        sa.Column("log_p_second", sa.Double(), nullable=False),
        sa.Column("label_mass", sa.Double(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_verdicts"),
    )
