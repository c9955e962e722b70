-- How often a job has failed.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "attempts" INTEGER NOT NULL DEFAULT 0;
