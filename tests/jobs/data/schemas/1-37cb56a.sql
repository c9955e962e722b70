-- What Peewee's create_tables() made of the models of 37cb56a, on each database.
-- sqlite
CREATE TABLE "outbox" ("id" VARCHAR(32) NOT NULL PRIMARY KEY, "actor" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL, "arguments" TEXT NOT NULL, "created_at" REAL NOT NULL, "send_at" REAL NOT NULL, "sendings" INTEGER NOT NULL, "error" TEXT, "failed_at" REAL);
CREATE INDEX "job_send_at" ON "outbox" ("send_at");
-- postgresql
CREATE TABLE "outbox" ("id" VARCHAR(32) NOT NULL PRIMARY KEY, "actor" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL, "arguments" TEXT NOT NULL, "created_at" DOUBLE PRECISION NOT NULL, "send_at" DOUBLE PRECISION NOT NULL, "sendings" INTEGER NOT NULL, "error" TEXT, "failed_at" DOUBLE PRECISION);
CREATE INDEX "job_send_at" ON "outbox" ("send_at");
