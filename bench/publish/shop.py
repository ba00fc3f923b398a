"""The shop that every benchmark publishes: a SQLite database made the same way each time.

Text holds what has to be escaped in HTML (& < > ') and letters beyond ASCII, but neither a double
quote nor a plus sign: Tera and Go's html/template write those two differently, both rightly, and
the benchmark compares bytes.
"""

import json
import random
import sqlite3

VARIANTS = 5
BRANDS = 200

SCHEMA = """
CREATE TABLE brand (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  country TEXT NOT NULL
);
CREATE TABLE product (
  id INTEGER PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  price_cents INTEGER NOT NULL,
  brand_id INTEGER NOT NULL REFERENCES brand (id),
  category TEXT NOT NULL
);
CREATE TABLE variant (
  id INTEGER PRIMARY KEY,
  product_id INTEGER NOT NULL REFERENCES product (id),
  sku TEXT NOT NULL UNIQUE,
  colour TEXT NOT NULL,
  size TEXT NOT NULL,
  stock INTEGER NOT NULL
);
"""

INDEXES = """
CREATE INDEX product_brand ON product (brand_id);
CREATE INDEX variant_product ON variant (product_id, sku);
"""

CATEGORIES = ["Shoes", "Jackets & Coats", "Shirts", "Bags", "Hats", "Men's Knitwear", "Outdoor", "Café"]
COLOURS = ["black", "white", "red", "navy", "olive", "sand", "crème", "blue & grey"]
SIZES = ["XS", "S", "M", "L", "XL", "< 36", "36 > 40", "one size"]
COUNTRIES = ["Portugal", "Italy", "Japan", "Côte d'Ivoire", "Norway", "Peru"]
ADJECTIVES = ["Light", "Warm", "Classic", "Slim", "Wide", "Folding", "Waxed", "Knitted", "Daily", "Alpine"]
NOUNS = ["Sneaker", "Parka", "Shirt", "Tote", "Beanie", "Sweater", "Rucksack", "Mug", "Belt", "Scarf"]
PHRASES = [
    "made to last",
    "cut & sewn by hand",
    "for temperatures < 10 °C",
    "for hikes > 20 km",
    "easy to repair",
    "from recycled cotton",
    "with the maker's guarantee",
    "lined with soft wool",
    "washable at 30 °C",
    "tested in rain & wind",
    "light enough for every day",
    "naturally dyed",
]


def make(path, products):
    """Writes a new database with so many products, five variants each, and 200 brands."""
    dice = random.Random(20_000)
    database = sqlite3.connect(path)
    database.executescript("PRAGMA synchronous = OFF;" + SCHEMA)
    with database:
        database.executemany("INSERT INTO brand VALUES (?, ?, ?)", brands(dice))
        database.executemany("INSERT INTO product VALUES (?, ?, ?, ?, ?, ?, ?)", rows(dice, products))
        database.executemany(
            "INSERT INTO variant (product_id, sku, colour, size, stock) VALUES (?, ?, ?, ?, ?)",
            variants(dice, products),
        )
    database.executescript(INDEXES + "ANALYZE;")
    database.close()


def brands(dice):
    for number in range(1, BRANDS + 1):
        yield number, f"Maker {number} & Co", dice.choice(COUNTRIES)


def rows(dice, products):
    for number in range(1, products + 1):
        name = f"{dice.choice(ADJECTIVES)} {dice.choice(NOUNS)} {number}"
        yield (
            number,
            name.lower().replace(" ", "-"),
            name,
            description(dice, name),
            dice.randrange(499, 49_999),
            dice.randrange(1, BRANDS + 1),
            dice.choice(CATEGORIES),
        )


def description(dice, name):
    """A sentence of about 200 bytes."""
    text = f"The {name} is {', '.join(dice.sample(PHRASES, 7))}"
    while len(text.encode()) < 195:
        text += f", {dice.choice(PHRASES)}"
    return text + "."


def variants(dice, products):
    for product in range(1, products + 1):
        for number, size in enumerate(dice.sample(SIZES, VARIANTS)):
            yield product, f"SKU-{product:06}-{number}", dice.choice(COLOURS), size, dice.randrange(250)


# What edgepress/site.toml asks for.
PRODUCTS = "SELECT brand_id, category, description, id, name, price_cents, slug FROM product ORDER BY id"
VARIANTS_OF = "SELECT colour, product_id, size, sku, stock FROM variant ORDER BY product_id, sku"
BRANDS_OF = "SELECT country, id, name FROM brand"

# Hugo reads a folder of files of this many products with less work than one large file.
PART = 500


def export(path, folder):
    """Writes the products, with their variants and brands, as JSON files for Hugo."""
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    vendor = {row["id"]: dict(row) for row in database.execute(BRANDS_OF)}
    of = {}
    for row in database.execute(VARIANTS_OF):
        of.setdefault(row["product_id"], []).append(dict(row))
    products = [
        {**dict(row), "variants": of.get(row["id"], []), "vendor": vendor.get(row["brand_id"])}
        for row in database.execute(PRODUCTS)
    ]
    database.close()
    folder.mkdir(parents=True)
    for start in range(0, len(products), PART):
        with open(folder / f"{start:08}.json", "w", encoding="utf-8") as file:
            json.dump(products[start : start + PART], file, ensure_ascii=False, separators=(",", ":"))
