-- The group of a job, and whether it is throttled. Only jobs with a group are in the index.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "group_key" VARCHAR(255);
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "held" BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX IF NOT EXISTS "outbox_group" ON "outbox" ("group_key", "held")
    WHERE "group_key" IS NOT NULL;
