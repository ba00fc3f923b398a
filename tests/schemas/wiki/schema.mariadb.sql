CREATE TABLE page (id BIGINT PRIMARY KEY, parent_id BIGINT, slug VARCHAR(50) NOT NULL UNIQUE, title VARCHAR(200), "order" INT,
  FOREIGN KEY (parent_id) REFERENCES page (id));
CREATE TABLE tag (id INT PRIMARY KEY, name VARCHAR(20), "group" VARCHAR(20));
CREATE TABLE page_tag (page_id BIGINT, tag_id INT, PRIMARY KEY (page_id, tag_id),
  FOREIGN KEY (page_id) REFERENCES page (id) ON DELETE CASCADE, FOREIGN KEY (tag_id) REFERENCES tag (id));
CREATE TABLE author (name VARCHAR(50) COLLATE utf8mb4_general_ci PRIMARY KEY, country CHAR(2));
CREATE TABLE revision (page_id BIGINT, no INT, author VARCHAR(50) COLLATE utf8mb4_general_ci, said TEXT, PRIMARY KEY (page_id, no),
  FOREIGN KEY (page_id) REFERENCES page (id) ON DELETE CASCADE);
CREATE VIEW "page tree" AS WITH RECURSIVE t (id, section) AS (
  SELECT id, slug FROM page WHERE parent_id IS NULL UNION ALL
  SELECT p.id, t.section FROM page p JOIN t ON p.parent_id = t.id) SELECT id, section FROM t;
