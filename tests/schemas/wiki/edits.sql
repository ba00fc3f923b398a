UPDATE page SET parent_id = 5 WHERE id = 2;
UPDATE revision SET author = 'Bob' WHERE page_id = 4;
INSERT INTO revision VALUES (1, 3, 'Ann', 'again');
DELETE FROM page_tag WHERE page_id = 3;
UPDATE tag SET "group" = 'hue' WHERE id = 2;
