-- Jobs for later, the threads that run jobs, tracebacks; workers, paused queues, stats, and
-- recurring jobs.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "due_at" DOUBLE PRECISION;
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "thread" VARCHAR(255);
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "started_at" DOUBLE PRECISION;
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "traceback" TEXT;
CREATE TABLE IF NOT EXISTS "worker" (
    "id" VARCHAR(255) NOT NULL PRIMARY KEY,
    "host" VARCHAR(255) NOT NULL,
    "pid" INTEGER NOT NULL,
    "threads" INTEGER NOT NULL,
    "queues" VARCHAR(255) NOT NULL,
    "started_at" DOUBLE PRECISION NOT NULL,
    "seen_at" DOUBLE PRECISION NOT NULL,
    "memory_bytes" BIGINT NOT NULL DEFAULT 0,
    "quiet" BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE IF NOT EXISTS "paused_queue" (
    "queue" VARCHAR(255) NOT NULL PRIMARY KEY,
    "paused_at" DOUBLE PRECISION NOT NULL
);
CREATE TABLE IF NOT EXISTS "tally" (
    "span_s" INTEGER NOT NULL,
    "begin" BIGINT NOT NULL,
    "queue" VARCHAR(255) NOT NULL,
    "actor" VARCHAR(255) NOT NULL,
    "done" BIGINT NOT NULL DEFAULT 0,
    "failed" BIGINT NOT NULL DEFAULT 0,
    "ms" BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY ("span_s", "begin", "queue", "actor")
);
CREATE TABLE IF NOT EXISTS "recurring_job" (
    "name" VARCHAR(32) NOT NULL PRIMARY KEY,
    "rule" VARCHAR(255) NOT NULL,
    "next_at" DOUBLE PRECISION NOT NULL,
    "last_at" DOUBLE PRECISION
);
