UPDATE booking SET status = 'confirmed' WHERE id = '0a000000-0000-4000-8000-000000000003';
UPDATE booking SET room_number = 2, price = '1.50' WHERE id = '0a000000-0000-4000-8000-000000000002';
UPDATE room SET name = 'Red' WHERE building = 'B';
DELETE FROM booking WHERE id = '0a000000-0000-4000-8000-000000000004';
