-- The starter shop: its tables and its goods. Edgepress runs this file once, in one transaction, when
-- the database is new. After that the database is yours: edit rows with any SQL client.
--
-- Prices are whole cents, times are ISO 8601 text in UTC, truth values are 0 and 1.
-- Every column by which site.toml joins rows has an index.

CREATE TABLE category (
  id INTEGER PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  summary TEXT NOT NULL,
  option_name TEXT NOT NULL,            -- what a product's variants differ in: Size, Colour
  shape TEXT NOT NULL,                  -- which drawing in pages/picture.svg, and in which hue
  hue INTEGER NOT NULL CHECK (hue BETWEEN 0 AND 359),
  position INTEGER NOT NULL             -- order on the home page
);

CREATE TABLE brand (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  place TEXT NOT NULL
);

CREATE TABLE flash_sale (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  percent INTEGER NOT NULL CHECK (percent BETWEEN 1 AND 90),
  ends_at TEXT NOT NULL,
  is_open INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE product (
  id INTEGER PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  summary TEXT NOT NULL,
  description TEXT NOT NULL,
  price_cents INTEGER NOT NULL CHECK (price_cents > 0),
  category_id INTEGER NOT NULL REFERENCES category (id),
  shelf INTEGER NOT NULL DEFAULT 0,     -- neighbours on one shelf are shown as related
  brand_id INTEGER NOT NULL REFERENCES brand (id),
  flash_sale_id INTEGER REFERENCES flash_sale (id),
  shape TEXT NOT NULL,                  -- which drawing in pages/picture.svg, and in which hue
  hue INTEGER NOT NULL CHECK (hue BETWEEN 0 AND 359),
  is_featured INTEGER NOT NULL DEFAULT 0,
  is_listed INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL
);
CREATE INDEX product_category ON product (category_id, shelf);
CREATE INDEX product_brand ON product (brand_id);
CREATE INDEX product_flash_sale ON product (flash_sale_id);
CREATE INDEX product_featured ON product (is_featured);
CREATE INDEX product_created ON product (created_at);

CREATE TABLE variant (
  id INTEGER PRIMARY KEY,
  product_id INTEGER NOT NULL REFERENCES product (id) ON DELETE CASCADE,
  sku TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  position INTEGER NOT NULL,
  stock INTEGER NOT NULL CHECK (stock >= 0)
);
CREATE INDEX variant_product ON variant (product_id, position);

CREATE TABLE promotion (
  id INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  detail TEXT NOT NULL,
  code TEXT,                            -- NULL: applies by itself
  is_active INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE product_promotion (
  product_id INTEGER NOT NULL REFERENCES product (id) ON DELETE CASCADE,
  promotion_id INTEGER NOT NULL REFERENCES promotion (id) ON DELETE CASCADE,
  PRIMARY KEY (product_id, promotion_id)
) WITHOUT ROWID;
CREATE INDEX product_promotion_promotion ON product_promotion (promotion_id);

CREATE TABLE setting (
  id INTEGER PRIMARY KEY CHECK (id = 1), -- one row
  announcement TEXT NOT NULL,           -- on the home page
  delivery TEXT NOT NULL,               -- on every product page
  order_email TEXT NOT NULL
);

INSERT INTO setting (id, announcement, delivery, order_email) VALUES
  (1, 'Free delivery from €60, and thirty days to change your mind',
      'Leaves our warehouse within one working day. Free delivery from €60, free returns for thirty days.',
      'orders@flashshop.example');

INSERT INTO flash_sale (id, name, percent, ends_at, is_open) VALUES
  (1, 'The Flash Sale', 30, '2026-12-31T22:59:00Z', 1);

INSERT INTO promotion (id, title, detail, code, is_active) VALUES
  (1, 'Two for less', 'Order any two marked products and the cheaper one is 20% off.', 'PAIR20', 1),
  (2, 'Wrapped for free', 'Gift paper, ribbon and a hand-written card at no cost.', 'WRAP', 1),
  (3, 'Students save 10%', 'With a valid student address at any university.', 'STUDENT10', 1),
  (4, 'Two years of free repairs', 'Torn, cracked or worn: send it in and we mend it.', NULL, 1),
  (5, 'Trade in & save €15', 'Send us an old one in any state; we repair it or recycle it.', 'TRADEIN', 1),
  (6, 'Winter clearance', 'Another 10% off everything that has to make room.', 'WINTER', 0);

INSERT INTO category (id, slug, name, summary, option_name, shape, hue, position) VALUES
  (1, 'jackets', 'Jackets', 'Shells, parkas and quilted layers for weather that cannot make up its mind.', 'Size', 'jacket', 152, 1),
  (2, 'shirts', 'Shirts', 'Honest cotton, linen and wool, cut to be worn most days of the week.', 'Size', 'shirt', 206, 2),
  (3, 'trousers', 'Trousers', 'Room where you need it, and pockets that hold what you put in them.', 'Size', 'trousers', 32, 3),
  (4, 'footwear', 'Footwear', 'Boots and shoes that can be resoled, for pavements, paths and mud.', 'Size', 'boot', 18, 4),
  (5, 'bags', 'Bags', 'Packs, totes and travel bags that look better with every journey.', 'Colour', 'bag', 262, 5),
  (6, 'camping', 'Camping', 'Everything for a good night outside, and nothing you would leave at home.', 'Colour', 'tent', 96, 6),
  (7, 'cafe-kitchen', 'Café & Kitchen', 'Tools for slow breakfasts, strong coffee and dinners for eight.', 'Colour', 'mug', 4, 7),
  (8, 'lighting', 'Lighting', 'Warm light for reading, eating and finding the keys.', 'Colour', 'lamp', 46, 8),
  (9, 'chairs', 'Chairs', 'Seats for long evenings, made by people who sit down to work.', 'Colour', 'chair', 176, 9),
  (10, 'stationery', 'Stationery', 'Paper that likes ink, and the small things that keep a desk in order.', 'Colour', 'notebook', 340, 10),
  (11, 'audio', 'Audio', 'Speakers and headphones with real buttons and parts you can replace.', 'Colour', 'headphones', 228, 11),
  (12, 'plants', 'Plants & Pots', 'Easy plants, good pots, and the tools to keep one in the other.', 'Colour', 'plant', 124, 12);

INSERT INTO brand (id, name, place) VALUES
  (1, 'Østerby Works', 'Aarhus, Denmark'), (2, 'Northgate', 'Leeds, England'),
  (3, 'Lindqvist & Daughters', 'Malmö, Sweden'), (4, 'Atelier Brière', 'Lyon, France'),
  (5, 'Kōen Supply', 'Kyoto, Japan'), (6, 'Casa Peñalba', 'Oviedo, Spain'),
  (7, 'Łąka Studio', 'Poznań, Poland'), (8, 'Halden Mill', 'Halden, Norway'),
  (9, 'Bergmann', 'Leipzig, Germany'), (10, 'Tidewater', 'Cork, Ireland'),
  (11, 'Officina Sole', 'Turin, Italy'), (12, 'Fernweh', 'Freiburg, Germany'),
  (13, 'Two Rivers', 'Ghent, Belgium'), (14, 'Saltmarsh', 'Norwich, England'),
  (15, 'Kivi & Koivu', 'Tampere, Finland'), (16, 'Montclair', 'Geneva, Switzerland'),
  (17, 'Pão & Pinho', 'Porto, Portugal'), (18, 'Dvořák Brothers', 'Brno, Czechia'),
  (19, 'Stillwater', 'Bath, England'), (20, 'Rådhus', 'Odense, Denmark'),
  (21, 'Kestrel & Co.', 'Inverness, Scotland'), (22, 'Vesterhav', 'Esbjerg, Denmark'),
  (23, 'Plain Goods', 'Utrecht, Netherlands'), (24, 'Grünwald', 'Graz, Austria'),
  (25, 'Maison Olive', 'Marseille, France'), (26, 'Harrow Lane', 'Bristol, England'),
  (27, 'Nami', 'Kobe, Japan'), (28, 'Cassine', 'Bologna, Italy'),
  (29, 'Longshore', 'Galway, Ireland'), (30, 'Þingvellir Wool', 'Selfoss, Iceland'),
  (31, 'Eastfold', 'Tallinn, Estonia'), (32, 'Old Quay', 'Dundee, Scotland'),
  (33, 'Bright & Dull', 'Antwerp, Belgium'), (34, 'Sierra Alta', 'Granada, Spain'),
  (35, 'Mühlbach', 'Bolzano, Italy'), (36, 'Common Thread', 'Manchester, England'),
  (37, 'Skogen', 'Uppsala, Sweden'), (38, 'Ljubav', 'Ljubljana, Slovenia'),
  (39, 'Werkbund', 'Dresden, Germany'), (40, 'Little Harbour', 'Rotterdam, Netherlands');

-- A thousand products. Nothing here is random: each is put together from the word lists by its number,
-- so every new shop is the same shop.
WITH RECURSIVE
number (i) AS (
  SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 1000
),
-- Of every hundred products, this many in each category.
share (category_id, start, stop) AS (VALUES
  (1, 0, 11), (2, 11, 23), (3, 23, 31), (4, 31, 41), (5, 41, 51), (6, 51, 59),
  (7, 59, 70), (8, 70, 77), (9, 77, 83), (10, 83, 90), (11, 90, 95), (12, 95, 100)
),
line (i, name, slug) AS (VALUES
  (0, 'Alder', 'alder'), (1, 'Aspen', 'aspen'), (2, 'Birch', 'birch'), (3, 'Bramble', 'bramble'),
  (4, 'Briar', 'briar'), (5, 'Brook', 'brook'), (6, 'Cairn', 'cairn'), (7, 'Cedar', 'cedar'),
  (8, 'Clover', 'clover'), (9, 'Skåne', 'skane'), (10, 'Cove', 'cove'), (11, 'Dale', 'dale'),
  (12, 'Drift', 'drift'), (13, 'Dune', 'dune'), (14, 'Ember', 'ember'), (15, 'Fern', 'fern'),
  (16, 'Fjord', 'fjord'), (17, 'Flint', 'flint'), (18, 'Gale', 'gale'), (19, 'Glen', 'glen'),
  (20, 'Hazel', 'hazel'), (21, 'Heath', 'heath'), (22, 'Heron', 'heron'), (23, 'Ivy', 'ivy'),
  (24, 'Juniper', 'juniper'), (25, 'Kestrel', 'kestrel'), (26, 'Larch', 'larch'), (27, 'Linden', 'linden'),
  (28, 'Lowland', 'lowland'), (29, 'Maple', 'maple'), (30, 'Mesa', 'mesa'), (31, 'Moor', 'moor'),
  (32, 'Nordlys', 'nordlys'), (33, 'Oak', 'oak'), (34, 'Pebble', 'pebble'), (35, 'Quarry', 'quarry'),
  (36, 'Rowan', 'rowan'), (37, 'Sörmland', 'sormland'), (38, 'Élan', 'elan'), (39, 'Ærø', 'aeroe')
),
style (category_id, i, name) AS (VALUES
  (1, 0, 'Trail'), (1, 1, 'Storm'), (1, 2, 'Harbour'), (1, 3, 'Field'), (1, 4, 'City'),
  (2, 0, 'Everyday'), (2, 1, 'Workshop'), (2, 2, 'Striped'), (2, 3, 'Garden'), (2, 4, 'Washed'),
  (3, 0, 'Tapered'), (3, 1, 'Wide'), (3, 2, 'Utility'), (3, 3, 'Pleated'), (3, 4, 'Easy'),
  (4, 0, 'Trail'), (4, 1, 'Harbour'), (4, 2, 'Town'), (4, 3, 'Moorland'), (4, 4, 'Light'),
  (5, 0, 'Commuter'), (5, 1, 'Weekend'), (5, 2, 'Market'), (5, 3, 'Roll-Top'), (5, 4, 'Folding'),
  (6, 0, 'Ultralight'), (6, 1, 'Basecamp'), (6, 2, 'Summit'), (6, 3, 'All-Season'), (6, 4, 'Lakeside'),
  (7, 0, 'Country'), (7, 1, 'Hearth'), (7, 2, 'Family'), (7, 3, 'Studio'), (7, 4, 'Sunday'),
  (8, 0, 'Paper'), (8, 1, 'Brass'), (8, 2, 'Opal'), (8, 3, 'Workshop'), (8, 4, 'Evening'),
  (9, 0, 'Slatted'), (9, 1, 'Woven'), (9, 2, 'Orchard'), (9, 3, 'Reading'), (9, 4, 'Bentwood'),
  (10, 0, 'Archive'), (10, 1, 'Linen'), (10, 2, 'Pocket'), (10, 3, 'Desk'), (10, 4, 'Traveller'),
  (11, 0, 'Studio'), (11, 1, 'Parlour'), (11, 2, 'Evening'), (11, 3, 'Atlas'), (11, 4, 'Compact'),
  (12, 0, 'Garden'), (12, 1, 'Balcony'), (12, 2, 'Courtyard'), (12, 3, 'Window'), (12, 4, 'Shade')
),
noun (category_id, i, name, shape, cents, summary) AS (VALUES
  (1, 0, 'Jacket', 'jacket', 14900, 'A light shell that keeps the rain out and lets the heat go.'),
  (1, 1, 'Parka', 'jacket', 24900, 'A long, hooded parka for standing still in the cold.'),
  (1, 2, 'Anorak', 'jacket', 13900, 'A pull-over anorak with one big pocket in front.'),
  (1, 3, 'Vest', 'vest', 8900, 'A quilted vest that fits under a coat or over a jumper.'),
  (1, 4, 'Raincoat', 'jacket', 17900, 'A straight raincoat with taped seams and a proper collar.'),
  (1, 5, 'Overshirt', 'jacket', 10900, 'Half shirt, half jacket, right for the weeks between seasons.'),
  (2, 0, 'Shirt', 'shirt', 6900, 'A straight-cut shirt that looks right tucked in or not.'),
  (2, 1, 'T-Shirt', 'shirt', 3400, 'A heavy T-shirt that keeps its shape after fifty washes.'),
  (2, 2, 'Polo', 'shirt', 4900, 'A knitted polo with a soft collar and two real buttons.'),
  (2, 3, 'Henley', 'shirt', 4400, 'A long-sleeved henley for layering or for lazy Sundays.'),
  (2, 4, 'Flannel', 'shirt', 7900, 'A brushed flannel shirt, warm from the first minute.'),
  (2, 5, 'Tunic', 'shirt', 6400, 'A loose tunic with side slits and sleeves that roll up well.'),
  (3, 0, 'Chinos', 'trousers', 8400, 'Everyday chinos with a touch of stretch at the knee.'),
  (3, 1, 'Jeans', 'trousers', 9900, 'Rigid jeans that soften into yours within a month.'),
  (3, 2, 'Cords', 'trousers', 8900, 'Fine-ribbed cords, quiet enough for a library.'),
  (3, 3, 'Shorts', 'shorts', 5400, 'Shorts that end just above the knee, with a zipped back pocket.'),
  (3, 4, 'Joggers', 'trousers', 6400, 'Soft joggers you can also wear to the bakery.'),
  (3, 5, 'Trousers', 'trousers', 11900, 'Clean trousers with a fixed crease and a flexible waist.'),
  (4, 0, 'Boots', 'boot', 18900, 'Laced boots with a stitched sole that any cobbler can replace.'),
  (4, 1, 'Sneakers', 'shoe', 9900, 'Plain low sneakers, good on Monday and on Saturday.'),
  (4, 2, 'Loafers', 'shoe', 12900, 'Supple loafers with a rubber tread for wet stairs.'),
  (4, 3, 'Sandals', 'sandal', 7900, 'Two-strap sandals on a cork bed that learns your foot.'),
  (4, 4, 'Clogs', 'shoe', 8400, 'Closed clogs for the garden, the kitchen and the ward.'),
  (4, 5, 'Chelseas', 'boot', 16900, 'Slip-on boots with strong elastic and a round toe.'),
  (5, 0, 'Backpack', 'bag', 11900, 'A backpack with a stiff back, a laptop sleeve and no loose straps.'),
  (5, 1, 'Tote', 'tote', 4900, 'A wide tote that stands up by itself on the train floor.'),
  (5, 2, 'Duffel', 'duffel', 13900, 'A cabin-sized duffel with a separate pocket for shoes.'),
  (5, 3, 'Messenger', 'satchel', 9900, 'A flat messenger bag that swings round without a fight.'),
  (5, 4, 'Sling', 'duffel', 5400, 'A small sling for phone, keys, a book and an apple.'),
  (5, 5, 'Pannier', 'satchel', 8900, 'A bicycle pannier that clicks on and off with one hand.'),
  (6, 0, 'Tent', 'tent', 32900, 'A tent you can pitch alone, in wind, in four minutes.'),
  (6, 1, 'Sleeping Bag', 'roll', 17900, 'A roomy sleeping bag for nights down to freezing.'),
  (6, 2, 'Stove', 'pot', 6900, 'A folding stove that boils half a litre in three minutes.'),
  (6, 3, 'Lantern', 'lantern', 4400, 'A lantern that runs for forty hours and charges a phone.'),
  (6, 4, 'Sleeping Mat', 'roll', 8400, 'A self-inflating mat, as thick as it is quiet.'),
  (6, 5, 'Cook Set', 'pot', 5900, 'Two pots, a pan and a lid that nest into one.'),
  (7, 0, 'Mug', 'mug', 1900, 'A generous mug with a handle for three fingers.'),
  (7, 1, 'Coffee Press', 'press', 3900, 'A press with a fine double filter and a lid that stays on.'),
  (7, 2, 'Skillet', 'skillet', 6900, 'A seasoned skillet that goes from hob to oven to table.'),
  (7, 3, 'Teapot', 'teapot', 4900, 'A teapot that pours without a single drip.'),
  (7, 4, 'Bowl', 'bowl', 2400, 'A deep bowl for soup, salad, ramen or dough.'),
  (7, 5, 'Chopping Board', 'board', 3400, 'An end-grain board that is kind to knives.'),
  (8, 0, 'Table Lamp', 'lamp', 8900, 'A table lamp with a dimmer you can find in the dark.'),
  (8, 1, 'Pendant', 'pendant', 12900, 'A pendant that lights the table and leaves the room calm.'),
  (8, 2, 'Floor Lamp', 'lamp', 18900, 'A floor lamp that leans over your chair without blinding you.'),
  (8, 3, 'Wall Light', 'globe', 7400, 'A wall light that throws its glow up and down.'),
  (8, 4, 'Desk Lamp', 'desk-lamp', 9900, 'A desk lamp with two joints that hold wherever you leave them.'),
  (8, 5, 'Night Light', 'globe', 2900, 'A small night light, just enough to find the door.'),
  (9, 0, 'Chair', 'chair', 16900, 'A dining chair that is still comfortable at midnight.'),
  (9, 1, 'Stool', 'stool', 8900, 'A three-legged stool that never wobbles.'),
  (9, 2, 'Armchair', 'armchair', 42900, 'A deep armchair with arms wide enough for a cup.'),
  (9, 3, 'Bench', 'bench', 24900, 'A bench for two adults, three children or one nap.'),
  (9, 4, 'Rocker', 'rocker', 29900, 'A rocking chair with a slow, even swing.'),
  (9, 5, 'Lounger', 'armchair', 34900, 'A low lounger for balconies and long novels.'),
  (10, 0, 'Notebook', 'notebook', 1600, 'A sewn notebook that lies flat on any page.'),
  (10, 1, 'Planner', 'notebook', 2400, 'An undated planner: begin in any week you like.'),
  (10, 2, 'Pen Case', 'case', 2900, 'A slim case for five pens, a ruler and an eraser.'),
  (10, 3, 'Fountain Pen', 'pen', 4900, 'A fountain pen with a steel nib that writes at once.'),
  (10, 4, 'Letter Set', 'envelope', 1900, 'Twelve sheets and twelve lined envelopes in a box.'),
  (10, 5, 'Tray', 'tray', 3400, 'A tray for keys, coins and everything without a place.'),
  (11, 0, 'Headphones', 'headphones', 15900, 'Closed headphones with pads that change in ten seconds.'),
  (11, 1, 'Speaker', 'speaker', 19900, 'A speaker with one big knob and no app to install.'),
  (11, 2, 'Earphones', 'earphones', 6900, 'Wired earphones with a cable that does not tangle.'),
  (11, 3, 'Radio', 'radio', 12900, 'A kitchen radio that remembers five stations.'),
  (11, 4, 'Turntable', 'turntable', 34900, 'A belt-driven turntable, ready to play out of the box.'),
  (11, 5, 'Soundbar', 'soundbar', 24900, 'A low soundbar that makes voices easy to follow.'),
  (12, 0, 'Pot', 'planter', 2400, 'A thick-walled pot with a drain hole and a saucer.'),
  (12, 1, 'Planter', 'planter', 5900, 'A long planter for herbs, lettuce or a row of bulbs.'),
  (12, 2, 'Monstera', 'plant', 3900, 'A young monstera with at least four split leaves.'),
  (12, 3, 'Olive Tree', 'tree', 6900, 'A small olive tree that winters well indoors.'),
  (12, 4, 'Watering Can', 'can', 3400, 'A watering can with a long neck and a gentle rose.'),
  (12, 5, 'Fern', 'plant', 1900, 'A lush fern that likes bathrooms and north windows.')
),
make (category_id, i, text) AS (VALUES
  (1, 0, 'Cut from recycled nylon with a dry, papery touch.'),
  (1, 1, 'The outer is waxed cotton; the lining is brushed and warm.'),
  (1, 2, 'Lined with wool that stays warm even when it is wet.'),
  (1, 3, 'Woven so densely that it needs no coating to turn a shower.'),
  (2, 0, 'Made from long-staple organic cotton, garment-dyed in small lots.'),
  (2, 1, 'A blend of linen and cotton that wrinkles in a friendly way.'),
  (2, 2, 'The seams are flat, and the label is printed so that it cannot itch.'),
  (2, 3, 'Washed once before it is sewn, so that it will not shrink later.'),
  (3, 0, 'Brushed on the inside and firm on the outside.'),
  (3, 1, 'Hemp and cotton make it strong, and softer with every wear.'),
  (3, 2, 'All stress points are bar-tacked, and the pockets are deep.'),
  (3, 3, 'The waist has two centimetres of give, hidden at the sides.'),
  (4, 0, 'The upper is vegetable-tanned leather from a tannery nearby.'),
  (4, 1, 'Natural rubber below, soft leather inside.'),
  (4, 2, 'Built on a wide last that gives toes the room they need.'),
  (4, 3, 'The insole lifts out to dry, and comes in half sizes.'),
  (5, 0, 'Made of waxed canvas with bridle-leather handles.'),
  (5, 1, 'Sewn from sailcloth that has already crossed a sea or two.'),
  (5, 2, 'The fabric is recycled polyester; the buckles are aluminium.'),
  (5, 3, 'Water runs off it, and sand falls out of it.'),
  (6, 0, 'Every part of it can be ordered one by one.'),
  (6, 1, 'It packs smaller than you would think possible.'),
  (6, 2, 'It can be mended in the field with a knife and some tape.'),
  (6, 3, 'Tested for two winters by the mountain rescue nearby.'),
  (7, 0, 'Made by hand, so no two are quite alike.'),
  (7, 1, 'It gets better with use and does not mind a knock.'),
  (7, 2, 'Small enough for a studio kitchen, good enough for a large one.'),
  (7, 3, 'Its muted colour makes food look good.'),
  (8, 0, 'The cable is covered in cotton and can be replaced.'),
  (8, 1, 'Takes an ordinary bulb, so it will not die with its diode.'),
  (8, 2, 'Its light is warm, even and free of flicker.'),
  (8, 3, 'Finished in a workshop that has made lights since 1911.'),
  (9, 0, 'Solid ash, oiled rather than lacquered.'),
  (9, 1, 'The seat is paper cord, woven in a single afternoon.'),
  (9, 2, 'Steam-bent beech, with joints that need no screws.'),
  (9, 3, 'Comes assembled, with felt already under its feet.'),
  (10, 0, 'Plain on purpose, so that what you write stands out.'),
  (10, 1, 'Made beside a bindery, largely from its offcuts.'),
  (10, 2, 'Cut and finished on machines older than our designers.'),
  (10, 3, 'Packed with a small pencil, because you always need one.'),
  (11, 0, 'Two screws open it, and every part inside has a number.'),
  (11, 1, 'Tuned by ear for voices and small ensembles.'),
  (11, 2, 'Oak, wool and aluminium, and hardly any plastic.'),
  (11, 3, 'Spare parts are promised for twelve years.'),
  (12, 0, 'Grown or made within a day of travel from our warehouse.'),
  (12, 1, 'It asks for very little and gives a lot back.'),
  (12, 2, 'Delivered upright, in a box made for the purpose.'),
  (12, 3, 'Comes with a card on how to look after it.')
),
close (i, text) AS (VALUES
  (0, 'If it breaks, send it back and we will mend it.'),
  (1, 'It ships in a plain cardboard box, without plastic.'),
  (2, 'Made in batches of two hundred; the next one follows in spring.'),
  (3, 'We have used ours daily for three years.'),
  (4, 'A favourite with our customers, and with the people who pack it.'),
  (5, 'Designed to be repaired with ordinary tools.'),
  (6, 'It makes a very good present.'),
  (7, 'Small marks are part of the material and not a fault.'),
  (8, 'One per cent of its price goes to planting hedgerows.'),
  (9, 'It pairs well with nearly everything around it.'),
  (10, 'The maker signs the inside, where only you will see it.')
),
placed (i, category_id, k) AS (
  SELECT number.i, share.category_id,
         row_number() OVER (PARTITION BY share.category_id ORDER BY number.i) - 1
  FROM number JOIN share ON (number.i * 37) % 100 >= share.start AND (number.i * 37) % 100 < share.stop
)
INSERT INTO product
  (id, slug, name, summary, description, price_cents, category_id, shelf, brand_id, flash_sale_id,
   shape, hue, is_featured, is_listed, created_at)
SELECT
  p.i,
  line.slug || '-' || lower(replace(style.name || '-' || noun.name, ' ', '-')),
  line.name || ' ' || style.name || ' ' || noun.name,
  noun.summary,
  make.text || CASE WHEN p.i % 3 > 0 THEN ' ' || close.text ELSE '' END,
  -- Between 80% and 125% of the kind's usual price, ending in .90 below 40 euros and in 4.90 or 9.90 above.
  CASE WHEN noun.cents < 4000 THEN noun.cents * (80 + p.i * 29 % 46) / 10000 * 100 + 90
       ELSE noun.cents * (80 + p.i * 29 % 46) / 50000 * 500 + 490 END,
  p.category_id,
  p.k / 8,
  1 + (p.category_id * 3 + p.k * 7 % 10) % 40,
  CASE WHEN (p.i * 7 + p.i / 25) % 25 = 4 THEN 1 END,
  noun.shape,
  p.i * 137 % 360,
  p.k = p.category_id * 5 % 12,
  p.i % 127 <> 60,
  strftime('%Y-%m-%dT%H:%M:00Z', '2025-12-20T06:00:00', printf('+%d hours', p.i * 8), printf('+%d minutes', p.i * 7 % 60))
FROM placed p
JOIN noun ON noun.category_id = p.category_id AND noun.i = p.k % 6
JOIN line ON line.i = (p.k / 6 * 7 + noun.i * 11 + p.category_id * 3) % 40
JOIN style ON style.category_id = p.category_id AND style.i = (p.k / 6 + p.k % 6 * 2) % 5
JOIN make ON make.category_id = p.category_id AND make.i = (p.k / 6 + p.k % 6) % 4
JOIN close ON close.i = p.i % 11
ORDER BY p.i;

-- Two to five variants of each product. Some are sold out; what is on sale runs low.
WITH
place (position) AS (VALUES (1), (2), (3), (4), (5)),
choice (kind, i, name) AS (VALUES
  ('size', 0, 'XS'), ('size', 1, 'S'), ('size', 2, 'M'), ('size', 3, 'L'), ('size', 4, 'XL'), ('size', 5, 'XXL'),
  ('shoe', 0, '37'), ('shoe', 1, '38'), ('shoe', 2, '39'), ('shoe', 3, '40'), ('shoe', 4, '42'), ('shoe', 5, '44'),
  ('colour', 0, 'Moss'), ('colour', 1, 'Clay'), ('colour', 2, 'Ink'), ('colour', 3, 'Sand'), ('colour', 4, 'Rust'),
  ('colour', 5, 'Chalk')
)
INSERT INTO variant (product_id, sku, name, position, stock)
SELECT
  p.id,
  upper(substr(c.slug, 1, 3)) || printf('-%04d-%d', p.id, place.position),
  choice.name,
  place.position,
  max(0, (p.id * 31 + place.position * 17) % 47 - 6) * (p.id % 83 > 0)
    / CASE WHEN p.flash_sale_id IS NULL THEN 1 ELSE 6 END
FROM product p
JOIN category c ON c.id = p.category_id
JOIN place ON place.position <= 2 + p.id * 7 % 4
JOIN choice
  ON choice.kind = CASE WHEN c.id = 4 THEN 'shoe' WHEN c.option_name = 'Size' THEN 'size' ELSE 'colour' END
 AND choice.i = (place.position - 1 + CASE WHEN c.option_name = 'Size' THEN p.id % 2 ELSE p.id END) % 6
ORDER BY p.id, place.position;

INSERT INTO product_promotion (product_id, promotion_id)
SELECT p.id, m.id
FROM product p
JOIN promotion m
  ON (p.id % 4 = 1 AND m.id = 1 + p.id % 5)
  OR (p.id % 12 = 5 AND m.id = 1 + (p.id + 2) % 5)
  OR (p.id % 10 = 7 AND m.id = 6);
