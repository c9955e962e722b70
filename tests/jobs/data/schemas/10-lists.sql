-- What Peewee's create_tables() made of the models with indexes for lists, on each database.
-- sqlite
CREATE TABLE "clock_span" ("begin" REAL NOT NULL PRIMARY KEY, "seen_at" REAL NOT NULL);
CREATE TABLE "outbox" ("id" VARCHAR(32) NOT NULL PRIMARY KEY, "actor" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL, "arguments" TEXT NOT NULL, "created_at" REAL NOT NULL, "send_at" REAL NOT NULL, "due_at" REAL, "leased_by" VARCHAR(255), "thread" VARCHAR(255), "started_at" REAL, "deaths" INTEGER NOT NULL, "attempts" INTEGER NOT NULL, "group_key" VARCHAR(255), "held" INTEGER NOT NULL, "sendings" INTEGER NOT NULL, "error" TEXT, "traceback" TEXT, "failed_at" REAL, "actor_missing" INTEGER NOT NULL, "traceparent" VARCHAR(64));
CREATE INDEX "job_send_at" ON "outbox" ("send_at");
CREATE INDEX "outbox_dead" ON "outbox" ("failed_at") WHERE ("failed_at" IS NOT NULL);
CREATE INDEX "outbox_dead_of" ON "outbox" ("queue", "failed_at", "id") WHERE ("failed_at" IS NOT NULL);
CREATE INDEX "outbox_group" ON "outbox" ("group_key", "held") WHERE ("group_key" IS NOT NULL);
CREATE INDEX "outbox_held" ON "outbox" ("group_key", "queue", "actor", "created_at", "id") WHERE "held";
CREATE INDEX "outbox_leased" ON "outbox" ("send_at", "leased_by") WHERE ("leased_by" IS NOT NULL);
CREATE INDEX "outbox_retrying" ON "outbox" ("queue", "due_at", "id", "attempts") WHERE ((("due_at" IS NOT NULL) AND ("attempts" > 0)) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE INDEX "outbox_scheduled" ON "outbox" ("queue", "due_at", "id") WHERE ((("due_at" IS NOT NULL) AND ("attempts" = 0)) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE INDEX "outbox_sent" ON "outbox" ("group_key", "queue", "actor_missing", "due_at") WHERE ((("group_key" IS NOT NULL) AND ("failed_at" IS NULL)) AND NOT "held");
CREATE INDEX "outbox_unheld" ON "outbox" ("group_key", "queue", "due_at") WHERE ((("group_key" IS NOT NULL) AND ("failed_at" IS NULL)) AND NOT "held");
CREATE INDEX "outbox_waiting" ON "outbox" ("queue", "held", "created_at", "id", "due_at", "leased_by", "failed_at") WHERE (("due_at" IS NULL) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE TABLE "outbox_identity" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(32) NOT NULL);
CREATE TABLE "paused_queue" ("queue" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" REAL NOT NULL);
CREATE TABLE "recurring_job" ("name" VARCHAR(32) NOT NULL PRIMARY KEY, "rule" VARCHAR(255) NOT NULL, "next_at" REAL NOT NULL, "last_at" REAL);
CREATE TABLE "tally" ("span_s" INTEGER NOT NULL, "begin" INTEGER NOT NULL, "queue" VARCHAR(255) NOT NULL, "actor" VARCHAR(255) NOT NULL, "done" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "ms" INTEGER NOT NULL, PRIMARY KEY ("span_s", "begin", "queue", "actor"));
CREATE TABLE "worker" ("id" VARCHAR(255) NOT NULL PRIMARY KEY, "host" VARCHAR(255) NOT NULL, "pid" INTEGER NOT NULL, "threads" INTEGER NOT NULL, "queues" VARCHAR(255) NOT NULL, "all_queues" TEXT, "started_at" REAL NOT NULL, "seen_at" REAL NOT NULL, "memory_bytes" INTEGER NOT NULL, "clock_off_s" REAL, "quiet" INTEGER NOT NULL);
-- postgresql
CREATE TABLE "clock_span" ("begin" DOUBLE PRECISION NOT NULL PRIMARY KEY, "seen_at" DOUBLE PRECISION NOT NULL);
CREATE TABLE "outbox" ("id" VARCHAR(32) NOT NULL PRIMARY KEY, "actor" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL, "arguments" TEXT NOT NULL, "created_at" DOUBLE PRECISION NOT NULL, "send_at" DOUBLE PRECISION NOT NULL, "due_at" DOUBLE PRECISION, "leased_by" VARCHAR(255), "thread" VARCHAR(255), "started_at" DOUBLE PRECISION, "deaths" INTEGER NOT NULL, "attempts" INTEGER NOT NULL, "group_key" VARCHAR(255), "held" BOOLEAN NOT NULL, "sendings" INTEGER NOT NULL, "error" TEXT, "traceback" TEXT, "failed_at" DOUBLE PRECISION, "actor_missing" BOOLEAN NOT NULL, "traceparent" VARCHAR(64));
CREATE INDEX "job_send_at" ON "outbox" ("send_at");
CREATE INDEX "outbox_dead" ON "outbox" ("failed_at") WHERE ("failed_at" IS NOT NULL);
CREATE INDEX "outbox_dead_of" ON "outbox" ("queue", "failed_at", "id") WHERE ("failed_at" IS NOT NULL);
CREATE INDEX "outbox_group" ON "outbox" ("group_key", "held") WHERE ("group_key" IS NOT NULL);
CREATE INDEX "outbox_held" ON "outbox" ("group_key", "queue", "actor", "created_at", "id") WHERE "held";
CREATE INDEX "outbox_leased" ON "outbox" ("send_at", "leased_by") WHERE ("leased_by" IS NOT NULL);
CREATE INDEX "outbox_retrying" ON "outbox" ("queue", "due_at", "id", "attempts") WHERE ((("due_at" IS NOT NULL) AND ("attempts" > 0)) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE INDEX "outbox_scheduled" ON "outbox" ("queue", "due_at", "id") WHERE ((("due_at" IS NOT NULL) AND ("attempts" = 0)) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE INDEX "outbox_sent" ON "outbox" ("group_key", "queue", "actor_missing", "due_at") WHERE ((("group_key" IS NOT NULL) AND ("failed_at" IS NULL)) AND NOT "held");
CREATE INDEX "outbox_unheld" ON "outbox" ("group_key", "queue", "due_at") WHERE ((("group_key" IS NOT NULL) AND ("failed_at" IS NULL)) AND NOT "held");
CREATE INDEX "outbox_waiting" ON "outbox" ("queue", "held", "created_at", "id", "due_at", "leased_by", "failed_at") WHERE (("due_at" IS NULL) AND (("leased_by" IS NULL) AND ("failed_at" IS NULL)));
CREATE TABLE "outbox_identity" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(32) NOT NULL);
CREATE TABLE "paused_queue" ("queue" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" DOUBLE PRECISION NOT NULL);
CREATE TABLE "recurring_job" ("name" VARCHAR(32) NOT NULL PRIMARY KEY, "rule" VARCHAR(255) NOT NULL, "next_at" DOUBLE PRECISION NOT NULL, "last_at" DOUBLE PRECISION);
CREATE TABLE "tally" ("span_s" INTEGER NOT NULL, "begin" BIGINT NOT NULL, "queue" VARCHAR(255) NOT NULL, "actor" VARCHAR(255) NOT NULL, "done" BIGINT NOT NULL, "failed" BIGINT NOT NULL, "ms" BIGINT NOT NULL, PRIMARY KEY ("span_s", "begin", "queue", "actor"));
CREATE TABLE "worker" ("id" VARCHAR(255) NOT NULL PRIMARY KEY, "host" VARCHAR(255) NOT NULL, "pid" INTEGER NOT NULL, "threads" INTEGER NOT NULL, "queues" VARCHAR(255) NOT NULL, "all_queues" TEXT, "started_at" DOUBLE PRECISION NOT NULL, "seen_at" DOUBLE PRECISION NOT NULL, "memory_bytes" BIGINT NOT NULL, "clock_off_s" DOUBLE PRECISION, "quiet" BOOLEAN NOT NULL);
