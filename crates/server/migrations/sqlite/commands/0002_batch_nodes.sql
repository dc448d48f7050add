-- Which process sends a batch: what it leaves behind is interrupted once it is gone.
ALTER TABLE batch ADD COLUMN node TEXT NOT NULL DEFAULT '';
