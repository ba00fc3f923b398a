CREATE TABLE page (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES page, slug TEXT NOT NULL UNIQUE, title TEXT, "order" INTEGER);
CREATE TABLE tag (id INTEGER PRIMARY KEY, name TEXT, "group" TEXT);
CREATE TABLE page_tag (page_id INTEGER REFERENCES page ON DELETE CASCADE, tag_id INTEGER REFERENCES tag, PRIMARY KEY (page_id, tag_id));
CREATE TABLE author (name TEXT PRIMARY KEY COLLATE NOCASE, country TEXT);
CREATE TABLE revision (page_id INTEGER REFERENCES page ON DELETE CASCADE, no INTEGER, author TEXT COLLATE NOCASE, said TEXT, PRIMARY KEY (page_id, no));
CREATE VIEW "page tree" AS WITH RECURSIVE t (id, section) AS (
  SELECT id, slug FROM page WHERE parent_id IS NULL UNION ALL
  SELECT p.id, t.section FROM page p JOIN t ON p.parent_id = t.id) SELECT id, section FROM t;
