CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE page (id bigint PRIMARY KEY, parent_id bigint REFERENCES page, slug text NOT NULL UNIQUE, title text, "order" integer);
CREATE TABLE tag (id integer PRIMARY KEY, name varchar(20), "group" varchar(20));
CREATE TABLE page_tag (page_id bigint REFERENCES page ON DELETE CASCADE, tag_id integer REFERENCES tag, PRIMARY KEY (page_id, tag_id));
CREATE TABLE author (name text COLLATE nocase PRIMARY KEY, country char(2));
CREATE TABLE revision (page_id bigint REFERENCES page ON DELETE CASCADE, no integer, author text COLLATE nocase, said text, PRIMARY KEY (page_id, no));
CREATE VIEW "page tree" AS WITH RECURSIVE t (id, section) AS (
  SELECT id, slug FROM page WHERE parent_id IS NULL UNION ALL
  SELECT p.id, t.section FROM page p JOIN t ON p.parent_id = t.id) SELECT id, section FROM t;
