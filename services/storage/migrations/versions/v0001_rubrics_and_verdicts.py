"""Rubric versions, aliases and verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "rubric_versions",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_rubric_versions"),
        sa.UniqueConstraint("name", "digest", name="uq_rubric_versions_name_digest"),
    )
    op.create_table(
        "rubric_aliases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "alias", name="pk_rubric_aliases"),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["rubric_versions.name", "rubric_versions.version"],
            name="fk_rubric_aliases_rubric_versions",
        ),
    )
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


def downgrade() -> None:
    """Drop them."""
    op.drop_table("verdicts")
    op.drop_table("rubric_aliases")
    op.drop_table("rubric_versions")
