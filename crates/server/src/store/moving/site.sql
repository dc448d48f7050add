INSERT INTO settings VALUES ('join-mode', 'closed'), ('odd', 'Zürich "quoted" \ ' || char(10));
INSERT INTO devices (key, id, state, name, location, sockets, period_s, access, salt, hash, reported, version, revision, created_at) VALUES
    (1, 'A-302-strip01', 'active', 'Küche 厨房', 'A/3/302', 6, 5, 'credentials', x'616263646566676869616263', zeroblob(64),
     '{"boot":17,"firmware":"1.4.0","sockets":[],"at":1777600000123}', 4, 11, 1777593600001),
    (2, 'gone', 'deleted', '', '', NULL, NULL, 'none', NULL, NULL, NULL, 2, 7, 1577836800000),
    (3, 'strip-3', 'active', '', 'A/3', NULL, NULL, 'none', NULL, NULL, NULL, 1, 12, 1777593600003);
INSERT INTO users (id, name, name_key, role, scope, password_hash, version, created_at, last_sign_in_at) VALUES
    (2, 'Ann', 'ann', 'admin', '', '$argon2id$x', 3, 1777593600000, NULL),
    (7, 'Böb', 'böb', 'viewer', 'A/3', '$argon2id$y', 1, 1777593600000, 1777593700000);
INSERT INTO sessions (user_id, digest, previous_digest, csrf_token, created_at, rotated_at, last_used_at, address, agent)
    VALUES (2, zeroblob(32), x'00ff', 'csrf', 1, 2, 3, '::1', 'curl');
INSERT INTO tokens (name, digest, role, scope, created_by, created_at, expires_at, last_used_at)
    VALUES ('grafana', x'0102', 'viewer', '', 'Ann', 1777593600000, 1877593600000, NULL);
INSERT INTO audit VALUES (x'019d0000000070008000000000000001', 1777593600000, 'user', 'Ann', '::1', 'device.add', 'strip-3', '{"a":"\u0000"}');
INSERT INTO events (id, ts, received_at, device_key, device_id, socket, type, severity, origin_kind, origin_name, data) VALUES
    (x'019d0000000070008000000000000002', 1777593600000, 1777593600005, 1, 'A-302-strip01', NULL, 'DEVICE_OFFLINE', 1, 'server', NULL, '{}'),
    (x'019d0000000070008000000000000003', 1777593600000, 1777593600006, NULL, NULL, 2, 'device.button', 0, 'device', 'x', '{"n":[1,2.5,null]}');
INSERT INTO last_presence VALUES (1, 1777593600000, x'019d0000000070008000000000000002', 1777593600005);
INSERT INTO incidents (id, location, started_at, ended_at, devices)
    VALUES (x'019d0000000070008000000000000004', 'A/3', 1777593600000, NULL, '{"A-302-strip01":null}');
