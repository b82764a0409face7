import sqlalchemy as sa
from alembic import op

revision = "4f1c2a"
down_revision = None


def upgrade():
    op.create_table("boat", sa.Column("name", sa.Text))


def downgrade():
    op.drop_table("boat")
