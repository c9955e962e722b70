-- Which worker runs a job, and how many workers died over it.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "leased_by" VARCHAR(255);
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "deaths" INTEGER NOT NULL DEFAULT 0;
