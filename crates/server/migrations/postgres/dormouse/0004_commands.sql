-- Commands, batches, idempotency keys. Ids are UUIDv7, so that rows are added
-- at the end.
CREATE TABLE commands (
    id           uuid        PRIMARY KEY,
    device       int4        NOT NULL,
    device_id    text        NOT NULL,
    -- 0 is the whole strip.
    socket       int2        NOT NULL,
    action       text        NOT NULL,
    off_ms       int8,
    timeout_ms   int8        NOT NULL,
    origin       jsonb       NOT NULL,
    batch        uuid,
    item         int8,
    created_at   timestamptz NOT NULL,
    deadline_at  timestamptz NOT NULL,
    state        text        NOT NULL,
    -- success: 'acked', 'inferred'; failed: 'refused', 'not-sent';
    -- cancelled: 'asked', 'replaced'
    how          text,
    reason       text,
    replaced_by  uuid,
    published_at timestamptz,
    settled_at   timestamptz,
    late         text,
    late_at      timestamptz
);

CREATE INDEX commands_of_device ON commands (device, id);

-- One pending command per device and socket. That the whole strip meets every
-- socket is looked after by dormouse_commit_commands.
CREATE UNIQUE INDEX commands_pending ON commands (device, socket) WHERE state = 'pending';

CREATE TABLE command_batches (
    id           uuid        PRIMARY KEY,
    action       text        NOT NULL,
    off_ms       int8,
    timeout_ms   int8        NOT NULL,
    on_pending   text        NOT NULL,
    send_offline bool        NOT NULL,
    origin       jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    -- The node that sends it.
    node         text        NOT NULL
);

CREATE INDEX command_batches_age ON command_batches (created_at);

-- An item waits while it has neither a command nor a refusal.
CREATE TABLE command_batch_items (
    batch     uuid NOT NULL REFERENCES command_batches (id) ON DELETE CASCADE,
    item      int8 NOT NULL,
    device    int4 NOT NULL,
    device_id text NOT NULL,
    socket    int2 NOT NULL,
    command   uuid,
    refusal   text,
    PRIMARY KEY (batch, item)
);

CREATE INDEX command_batch_items_waiting ON command_batch_items (batch)
    WHERE command IS NULL AND refusal IS NULL;

CREATE TABLE idempotency_keys (
    caller      text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    command     uuid,
    batch       uuid,
    used_at     timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (used_at);

-- The advisory locks of what `writes` touch, in the one order in which all
-- nodes take them. Devices, keys and batches share a few slots each, so that a
-- long list fills no lock table.
CREATE FUNCTION dormouse_lock_commands(writes jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    slot int4;
BEGIN
    FOR slot IN
        SELECT DISTINCT s.slot FROM (
            SELECT (w->'command'->>'device')::int4 & 63
            FROM jsonb_array_elements(writes) w WHERE w->>'kind' = 'insert'
            UNION ALL
            SELECT c.device & 63
            FROM jsonb_array_elements(writes) w JOIN commands c ON c.id = (w->>'id')::uuid
            UNION ALL
            SELECT 64 + (hashtext(concat(w->'key'->>'caller', chr(10), w->'key'->>'key')) & 31)
            FROM jsonb_array_elements(writes) w WHERE w ? 'key'
            UNION ALL
            SELECT 96 + (hashtext(coalesce(w->>'batch', w->'command'->>'batch')) & 31)
            FROM jsonb_array_elements(writes) w
            WHERE coalesce(w->>'batch', w->'command'->>'batch') IS NOT NULL
        ) AS s (slot)
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(x'646f7263'::int4, slot);
    END LOOP;
END $$;

-- Remembers what a key was used for; one that is there is older than it is
-- remembered.
CREATE FUNCTION dormouse_claim_key(used jsonb, made_command uuid, made_batch uuid) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO idempotency_keys (caller, key, fingerprint, command, batch, used_at)
    SELECT used->>'caller', used->>'key', decode(used->>'fingerprint', 'hex'),
           made_command, made_batch, (used->>'used_at')::timestamptz
    ON CONFLICT (caller, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, command = excluded.command,
        batch = excluded.batch, used_at = excluded.used_at;
$$;

-- Does all of `writes`, in order, in the caller's transaction: one round trip
-- for a whole turn of the dispatcher. Answers rows in the order of the writes:
-- 'replaced' and 'busy' come once per command met, in order of their sockets,
-- and 'done' follows 'replaced'.
CREATE FUNCTION dormouse_commit_commands(writes jsonb)
RETURNS TABLE (o_write int4, o_outcome text, o_key idempotency_keys, o_command commands)
LANGUAGE plpgsql AS $$
DECLARE
    w     jsonb;
    added commands;
BEGIN
    PERFORM dormouse_lock_commands(writes);
    o_write := -1;
    FOR w IN SELECT value FROM jsonb_array_elements(writes) LOOP
        o_write := o_write + 1;
        o_outcome := 'done';
        o_key := NULL;
        o_command := NULL;
        IF w ? 'key' THEN
            SELECT k.* INTO o_key FROM idempotency_keys k
            WHERE k.caller = w->'key'->>'caller' AND k.key = w->'key'->>'key'
              AND k.used_at >= (w->'key'->>'since')::timestamptz;
            IF FOUND THEN
                o_outcome := 'remembered';
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        CASE w->>'kind'
        WHEN 'insert' THEN
            added := jsonb_populate_record(NULL::commands, w->'command');
            FOR o_command IN
                SELECT c.* FROM commands c
                WHERE c.state = 'pending' AND c.device = added.device
                  AND (c.socket = added.socket OR c.socket = 0 OR added.socket = 0)
                ORDER BY c.socket
            LOOP
                IF (w->>'replace')::bool THEN
                    UPDATE commands c SET state = 'cancelled', how = 'replaced',
                        replaced_by = added.id, settled_at = added.created_at
                    WHERE c.id = o_command.id RETURNING c.* INTO o_command;
                    o_outcome := 'replaced';
                ELSE
                    o_outcome := 'busy';
                END IF;
                RETURN NEXT;
            END LOOP;
            o_command := NULL;
            IF o_outcome = 'busy' THEN
                UPDATE command_batch_items i SET refusal = 'command-pending'
                WHERE i.batch = added.batch AND i.item = added.item
                  AND i.command IS NULL AND i.refusal IS NULL;
                CONTINUE;
            END IF;
            INSERT INTO commands SELECT added.*;
            IF w ? 'key' THEN
                PERFORM dormouse_claim_key(w->'key', added.id, NULL);
            END IF;
            IF added.batch IS NOT NULL THEN
                UPDATE command_batch_items i SET command = added.id
                WHERE i.batch = added.batch AND i.item = added.item
                  AND i.command IS NULL AND i.refusal IS NULL;
            END IF;
            o_outcome := 'done';
        WHEN 'settle' THEN
            UPDATE commands c SET state = w->>'state', how = w->>'how', reason = w->>'reason',
                replaced_by = (w->>'replaced_by')::uuid,
                published_at = coalesce((w->>'published_at')::timestamptz, c.published_at),
                settled_at = (w->>'settled_at')::timestamptz
            WHERE c.id = (w->>'id')::uuid AND c.state = 'pending';
        WHEN 'late' THEN
            UPDATE commands c SET late = w->>'late', late_at = (w->>'late_at')::timestamptz
            WHERE c.id = (w->>'id')::uuid AND c.state <> 'pending' AND c.late IS NULL;
        WHEN 'batch' THEN
            INSERT INTO command_batches
            SELECT (jsonb_populate_record(NULL::command_batches, w->'head')).*;
            INSERT INTO command_batch_items (batch, item, device, device_id, socket)
            SELECT (w->>'batch')::uuid, t.item - 1, (t.target->>0)::int4, t.target->>1,
                   (t.target->>2)::int2
            FROM jsonb_array_elements(w->'targets') WITH ORDINALITY AS t (target, item);
            IF w ? 'key' THEN
                PERFORM dormouse_claim_key(w->'key', NULL, (w->>'batch')::uuid);
            END IF;
        WHEN 'refuse' THEN
            UPDATE command_batch_items i SET refusal = w->>'refusal'
            WHERE i.batch = (w->>'batch')::uuid AND i.item = (w->>'item')::int8
              AND i.command IS NULL AND i.refusal IS NULL;
            RETURN NEXT;
            CONTINUE;
        END CASE;
        IF w->>'kind' IN ('settle', 'late') AND NOT FOUND THEN
            o_outcome := 'unchanged';
            SELECT c.* INTO o_command FROM commands c WHERE c.id = (w->>'id')::uuid;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
