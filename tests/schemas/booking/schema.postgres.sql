CREATE SCHEMA hotel;
CREATE TYPE hotel.status AS ENUM ('asked', 'confirmed', 'cancelled');
CREATE DOMAIN hotel.building AS varchar(10) CHECK (VALUE <> '');
CREATE TABLE hotel.room (building hotel.building NOT NULL, number smallint NOT NULL, name text, area real, has_view boolean,
  opened date, PRIMARY KEY (building, number));
CREATE TABLE hotel.booking (id uuid PRIMARY KEY, building hotel.building, room_number smallint, guest jsonb,
  starts_at timestamptz, day date, at_time time, status hotel.status, price numeric(10,2), is_paid boolean, extras text[],
  badge bytea, note text, FOREIGN KEY (building, room_number) REFERENCES hotel.room);
ALTER ROLE CURRENT_USER IN DATABASE @DATABASE@ SET search_path = hotel, public;
SET search_path = hotel, public;
