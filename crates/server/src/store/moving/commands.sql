INSERT INTO command (id, device, device_id, socket, action, off_ms, timeout_ms, origin, batch, item, created_at, deadline_at, state, how, reason, replaced_by, published_at, settled_at, late, late_at) VALUES
    (x'019d0000000070008000000000000011', 1, 'A-302-strip01', 2, 'cycle', 3000, 6000, '{"kind":"user","name":"Ann"}', x'019d0000000070008000000000000021', 0, 1777593600000, 1777593606000, 'failed', 'refused', 'hot', NULL, 1777593600001, 1777593600500, NULL, NULL),
    (x'019d0000000070008000000000000012', 1, 'A-302-strip01', 1, 'on', NULL, 6000, '{"kind":"server"}', NULL, NULL, 1777593600000, 1777593606000, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO batch (id, action, off_ms, timeout_ms, on_pending, send_offline, origin, created_at, node)
    VALUES (x'019d0000000070008000000000000021', 'cycle', 3000, 6000, 'refuse', 1, '{"kind":"user","name":"Ann"}', 1777593600000, '');
INSERT INTO batch_item VALUES
    (x'019d0000000070008000000000000021', 0, 1, 'A-302-strip01', 2, x'019d0000000070008000000000000011', NULL),
    (x'019d0000000070008000000000000021', 1, 3, 'strip-3', 1, NULL, 'device-offline');
INSERT INTO idempotency_key VALUES ('token:1', 'k1', x'00ff10', x'019d0000000070008000000000000011', NULL, 1777593600000);
