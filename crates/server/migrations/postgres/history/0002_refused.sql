-- Messages that the database refused for what they are, so that they hold
-- nobody up: `why` in the server's words, `message` for people to read, `entry`
-- for Dormouse to take up. Set `again` to have one tried again.
CREATE TABLE refused_messages (
    nr         int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    device     int4 NOT NULL,
    again      boolean NOT NULL DEFAULT false,
    why        text NOT NULL,
    message    text NOT NULL,
    entry      bytea NOT NULL,
    digest     bytea NOT NULL GENERATED ALWAYS AS (sha256(entry)) STORED UNIQUE
);
CREATE INDEX refused_messages_of_device ON refused_messages (device, nr);
CREATE INDEX refused_messages_wanted ON refused_messages (nr) WHERE again;
