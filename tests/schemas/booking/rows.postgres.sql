INSERT INTO room VALUES ('A', 1, 'Blue & green', 12.5, true, '1999-12-31'), ('A', 2, 'Grün', 0.1, false, NULL), ('B', 1, NULL, 30, NULL, '2020-02-29');
INSERT INTO booking VALUES
  ('0A000000-0000-4000-8000-000000000001', 'A', 1, '{"name": "Ann", "ages": [1, 2.50]}', '2026-01-02 05:04:05+02', '2026-01-02', '03:04:05', 'confirmed', 99.9, true, '{breakfast,late}', '\x00FF10', 'it''s late'),
  ('0a000000-0000-4000-8000-000000000002', 'A', 1, NULL, '2026-01-01 00:00:00+00', '2026-01-01', NULL, 'asked', 0.1, false, NULL, NULL, NULL),
  ('0a000000-0000-4000-8000-000000000003', 'A', 1, '"x"', '2025-12-31 23:59:59+00', '2025-12-31', '00:00', 'cancelled', NULL, NULL, '{}', NULL, '<b>'),
  ('0a000000-0000-4000-8000-000000000004', 'B', 1, '{}', NULL, NULL, NULL, 'asked', 12345678, true, '{NULL,late}', '', '');
