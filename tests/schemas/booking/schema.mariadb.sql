CREATE TABLE room (building VARCHAR(10) NOT NULL, number SMALLINT NOT NULL, name TEXT, area FLOAT, has_view BOOLEAN,
  opened DATE, PRIMARY KEY (building, number));
CREATE TABLE booking (id UUID PRIMARY KEY, building VARCHAR(10), room_number SMALLINT, guest JSON, starts_at TIMESTAMP NULL,
  day DATE, at_time TIME, status ENUM ('asked', 'confirmed', 'cancelled'), price DECIMAL(10,2), is_paid BOOLEAN,
  extras SET ('breakfast', 'late'), badge VARBINARY(20), note TEXT,
  FOREIGN KEY (building, room_number) REFERENCES room (building, number));
SET time_zone = '+00:00';
