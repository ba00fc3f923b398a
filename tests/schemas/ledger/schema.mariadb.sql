CREATE TABLE account (code VARCHAR(10) PRIMARY KEY, opened DATETIME(3));
CREATE TABLE entry (code VARCHAR(10), no INT, amount DECIMAL(20,6), rate DOUBLE, volume BIGINT, booked_on DATE, PRIMARY KEY (code, no),
  FOREIGN KEY (code) REFERENCES account (code));
CREATE TABLE closed (code VARCHAR(10) PRIMARY KEY);
CREATE VIEW account_sum AS SELECT code, count(*) AS entries, sum(amount) AS total FROM entry GROUP BY code;
