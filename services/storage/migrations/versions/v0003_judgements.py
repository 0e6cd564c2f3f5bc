"""Judgements: the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "judgements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("run", sa.String(128), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("rank", sa.BigInteger(), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("group_id", sa.String(128), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("rubric_name", sa.String(64), nullable=True),
        sa.Column("rubric_version", sa.Integer(), nullable=True),
        sa.Column("rubric_digest", sa.String(71), nullable=False),
        sa.Column("judge_model", sa.Text(), nullable=False),
        sa.Column("judge_fingerprint", sa.String(71), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("first", sa.String(71), nullable=False),
        sa.Column("second", sa.String(71), nullable=True),
        sa.Column("source", sa.String(71), nullable=True),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(64), nullable=True),
        sa.Column("images_kept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_judgements"),
        sqlite_autoincrement=True,
    )
    for column in ("created", "run", "rubric_name", "rubric_digest"):
        op.create_index(f"ix_judgements_{column}", "judgements", [column])
    for column in ("first", "second", "source"):
        op.create_index(
            f"ix_judgements_kept_{column}",
            "judgements",
            [column],
            sqlite_where=sa.text("images_kept = 1"),
            postgresql_where=sa.text("images_kept"),
        )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("judgements")
