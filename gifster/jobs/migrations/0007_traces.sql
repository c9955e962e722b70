-- The trace that a job belongs to (W3C Trace Context); null if nobody traces.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "traceparent" VARCHAR(64);
