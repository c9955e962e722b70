-- The outbox: each row is a job that is not done.
CREATE TABLE IF NOT EXISTS "outbox" (
    "id" VARCHAR(32) NOT NULL PRIMARY KEY,
    "actor" VARCHAR(255) NOT NULL,
    "queue" VARCHAR(255) NOT NULL,
    "arguments" TEXT NOT NULL,
    "created_at" DOUBLE PRECISION NOT NULL,
    "send_at" DOUBLE PRECISION NOT NULL,
    "sendings" INTEGER NOT NULL DEFAULT 0,
    "error" TEXT,
    "failed_at" DOUBLE PRECISION
);
CREATE INDEX IF NOT EXISTS "job_send_at" ON "outbox" ("send_at");
