-- The name of this outbox, by which workers tell its messages from another application's.
CREATE TABLE IF NOT EXISTS "outbox_identity" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "name" VARCHAR(32) NOT NULL
);
