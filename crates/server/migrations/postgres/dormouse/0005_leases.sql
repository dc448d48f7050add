-- What one node at a time does; judged by this server's clock alone.
CREATE TABLE leases (
    name       text        COLLATE "C" PRIMARY KEY,
    -- Null where it was given back.
    holder     text,
    fence      int8        NOT NULL,
    expires_at timestamptz NOT NULL,
    note       text
) WITH (fillfactor = 60);

-- Fences rise over all leases, so that one is never used twice, not even
-- after its lease was removed.
CREATE SEQUENCE lease_fences;
