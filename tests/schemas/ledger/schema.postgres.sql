CREATE TABLE account (code varchar(10) PRIMARY KEY, opened timestamp);
CREATE TABLE entry (code varchar(10) REFERENCES account, no integer, amount numeric(20,6), rate double precision, volume bigint, booked_on date,
  PRIMARY KEY (code, no)) PARTITION BY LIST (code);
CREATE TABLE entry_k PARTITION OF entry FOR VALUES IN ('kasse');
CREATE TABLE entry_rest PARTITION OF entry DEFAULT;
CREATE TABLE closed (code varchar(10) PRIMARY KEY);
CREATE VIEW account_sum AS SELECT code, count(*) AS entries, sum(amount) AS total FROM entry GROUP BY code;
