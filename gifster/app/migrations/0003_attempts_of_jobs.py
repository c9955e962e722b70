"""How often a job has failed, kept where a broker that loses its data cannot forget it."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "outbox" ADD COLUMN "attempts" INTEGER NOT NULL DEFAULT 0')


def down(migrator, db):
    db.execute_sql('ALTER TABLE "outbox" DROP COLUMN "attempts"')
