INSERT INTO page VALUES (1, NULL, 'guide', 'Guide', 1);
INSERT INTO page VALUES (2, 1, 'first', 'First & last', 2), (3, 1, 'zweite', 'Zweite Straße', 1), (4, 2, 'deep', '日本 🚲', NULL), (5, NULL, 'notes', NULL, 0);
INSERT INTO tag VALUES (1, 'Red', 'colour'), (2, 'blue', 'colour'), (3, 'empty', NULL);
INSERT INTO page_tag VALUES (2, 1), (2, 2), (3, 1), (4, 1);
INSERT INTO author VALUES ('Ann', 'SE'), ('BOB', NULL);
INSERT INTO revision VALUES (1, 1, 'ann', 'begun'), (1, 2, 'bob', '<i>better</i>'), (4, 1, 'ANN', NULL), (5, 7, 'nobody', 'x');
