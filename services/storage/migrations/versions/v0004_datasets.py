"""Datasets: labelled rows and the image files that they show."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "datasets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("task", sa.String(16), nullable=False),
        sa.Column("num_rows", sa.Integer(), nullable=False),
        sa.Column("num_pairs", sa.BigInteger(), nullable=False),
        sa.Column("num_ties", sa.BigInteger(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("tenant", "digest", name="uq_datasets_tenant_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_rows",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "position", name="pk_dataset_rows"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_rows_datasets"),
    )
    op.create_table(
        "dataset_images",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "digest", name="pk_dataset_images"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_images_datasets"),
    )
    op.create_index("ix_dataset_images_digest", "dataset_images", ["digest"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("dataset_images")
    op.drop_table("dataset_rows")
    op.drop_table("datasets")
