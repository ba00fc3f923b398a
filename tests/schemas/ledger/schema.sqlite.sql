CREATE TABLE account (code TEXT PRIMARY KEY, opened TEXT);
CREATE TABLE entry (code TEXT REFERENCES account, no INTEGER, amount INTEGER, rate REAL, volume INTEGER, booked_on TEXT, PRIMARY KEY (code, no));
CREATE TABLE closed (code TEXT PRIMARY KEY);
CREATE VIEW account_sum AS SELECT code, count(*) AS entries, sum(amount) AS total FROM entry GROUP BY code;
