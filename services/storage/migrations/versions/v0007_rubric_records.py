"""Records attached to rubric versions: metrics, calibrations, and whether they are archived."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables and the column."""
    op.add_column("rubric_versions", sa.Column("archived", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "rubric_metrics",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("attached", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_rubric_metrics"),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["rubric_versions.name", "rubric_versions.version"],
            name="fk_rubric_metrics_rubric_versions",
        ),
    )
    op.create_table(
        "rubric_calibrations",
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("judge", sa.String(71), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("attached", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", "judge", name="pk_rubric_calibrations"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("rubric_calibrations")
    op.drop_table("rubric_metrics")
    op.drop_column("rubric_versions", "archived")
