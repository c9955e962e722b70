"""The hashes of GIFs as they were sent, of those that lost metadata: by these a page can tell
somebody that a file is in the library before it is sent.

The column is null for all rows, and the index is empty: it takes a second for a million rows.
"""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "gif" ADD COLUMN "sent_sha256" VARCHAR(64)')
    db.execute_sql(
        'CREATE INDEX "gif_sent" ON "gif" ("sent_sha256") WHERE "sent_sha256" IS NOT NULL'
    )


def down(migrator, db):
    db.execute_sql('DROP INDEX "gif_sent"')
    db.execute_sql('ALTER TABLE "gif" DROP COLUMN "sent_sha256"')
