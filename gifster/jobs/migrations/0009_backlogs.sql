-- What the relay, the ends of jobs and the page look for among very many rows: throttled jobs, the
-- other living jobs of a group, running jobs, and dead jobs. A row is in none of these indexes, or
-- in one or two.
CREATE INDEX IF NOT EXISTS "outbox_held"
    ON "outbox" ("group_key", "queue", "actor", "created_at", "id") WHERE "held";
CREATE INDEX IF NOT EXISTS "outbox_unheld" ON "outbox" ("group_key", "queue", "due_at")
    WHERE "group_key" IS NOT NULL AND "failed_at" IS NULL AND NOT "held";
CREATE INDEX IF NOT EXISTS "outbox_leased" ON "outbox" ("send_at", "leased_by")
    WHERE "leased_by" IS NOT NULL;
CREATE INDEX IF NOT EXISTS "outbox_dead" ON "outbox" ("failed_at") WHERE "failed_at" IS NOT NULL;
