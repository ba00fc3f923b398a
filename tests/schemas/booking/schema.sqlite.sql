CREATE TABLE room (building TEXT NOT NULL, number INTEGER NOT NULL, name TEXT, area REAL, has_view INTEGER, opened TEXT,
  PRIMARY KEY (building, number)) WITHOUT ROWID;
CREATE TABLE booking (id TEXT PRIMARY KEY, building TEXT, room_number INTEGER, guest TEXT, starts_at TEXT, day TEXT,
  at_time TEXT, status TEXT, price TEXT, is_paid INTEGER, extras TEXT, badge BLOB, note TEXT);
