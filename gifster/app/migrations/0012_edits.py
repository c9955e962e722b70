"""What moves is edited: the part, the frame rate and the box that versions show.

The column is null for all that is there. Neither database rewrites the table for it: it takes
milliseconds for a million rows, and a web process of the release before goes on adding rows."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "gif" ADD COLUMN "edit" TEXT')


def down(migrator, db):
    db.execute_sql('ALTER TABLE "gif" DROP COLUMN "edit"')
