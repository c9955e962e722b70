-- The spans of time in which somebody watched the clock, so that a clock that is set makes nothing
-- older; and how far the clock of a worker's machine is ahead of the database's.
CREATE TABLE IF NOT EXISTS "clock_span" (
    "begin" DOUBLE PRECISION NOT NULL PRIMARY KEY,
    "seen_at" DOUBLE PRECISION NOT NULL
);
ALTER TABLE "worker" ADD COLUMN IF NOT EXISTS "clock_off_s" DOUBLE PRECISION;
