-- Whether no worker had the actor of a job. All queues of a worker: "queues" has as many as 255
-- characters hold, and if its type changed, the statements would fail that running processes have
-- prepared.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "actor_missing" BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE "worker" ADD COLUMN IF NOT EXISTS "all_queues" TEXT;
-- What limits count, the page lists and the metrics count among very many rows: the jobs of a group
-- that are with the broker (a later release drops "outbox_unheld"); and by queue, in the order of
-- their list, the jobs that wait, are for later, wait for a retry, or are dead. SQLite counts
-- without the table if the index has all columns, so the first has those that are null, too.
CREATE INDEX IF NOT EXISTS "outbox_sent"
    ON "outbox" ("group_key", "queue", "actor_missing", "due_at")
    WHERE "group_key" IS NOT NULL AND "failed_at" IS NULL AND NOT "held";
CREATE INDEX IF NOT EXISTS "outbox_waiting"
    ON "outbox" ("queue", "held", "created_at", "id", "due_at", "leased_by", "failed_at")
    WHERE "due_at" IS NULL AND "leased_by" IS NULL AND "failed_at" IS NULL;
CREATE INDEX IF NOT EXISTS "outbox_scheduled" ON "outbox" ("queue", "due_at", "id")
    WHERE "due_at" IS NOT NULL AND "attempts" = 0 AND "leased_by" IS NULL AND "failed_at" IS NULL;
CREATE INDEX IF NOT EXISTS "outbox_retrying" ON "outbox" ("queue", "due_at", "id", "attempts")
    WHERE "due_at" IS NOT NULL AND "attempts" > 0 AND "leased_by" IS NULL AND "failed_at" IS NULL;
CREATE INDEX IF NOT EXISTS "outbox_dead_of" ON "outbox" ("queue", "failed_at", "id")
    WHERE "failed_at" IS NOT NULL;
