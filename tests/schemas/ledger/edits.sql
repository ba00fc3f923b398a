UPDATE entry SET volume = 1000 WHERE code = 'bank' AND no = 1;
INSERT INTO entry VALUES ('unused', 1, 5, 1, 2000, '2026-03-01');
INSERT INTO closed VALUES ('bank');
DELETE FROM entry WHERE code = 'kasse' AND no = 2;
UPDATE account SET opened = NULL WHERE code = 'kasse';
