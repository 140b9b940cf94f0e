"""The bundled subset of online-retail, selected by deterministic rules."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from statistics import median
from typing import NamedTuple

PRODUCTS, LEAST_PRODUCTS = 1_000, 5
# Postage, fees and manual entries have other codes.
PRODUCT_CODE = re.compile(r"\d{5}[A-Z]{0,2}")

# The first row with a word of the title decides. A word that ends in "*" is a prefix.
CATEGORIES: tuple[tuple[str, str], ...] = (
    ("christmas", "christmas xmas advent santa reindeer snow* bauble* wreath nativity"),
    ("bags", "bag bags shopper satchel purse backpack suitcase"),
    ("kids", "children* child* girl girls boy boys toy toys doll* dolly spaceboy game games "
             "skipping jigsaw puzzle soldier* playhouse dominoes circus* baby naughts snap tattoos "
             "bingo rabbit knitting"),
    ("stationery", "card cards wrap paper pencil* pen pens notebook* sticker* tape chalk* memo "
                   "stationery eraser* ruler* calculator journal sketchbook tissue tissues "
                   "magnet* passport stamp* letter* envelope* address gift tag tags book clip*"),
    ("party", "party birthday bunting balloon* garland* napkin* candle candles cupcake straws "
              "confetti ribbon ribbons piñata plates"),
    ("lighting", "light lights lamp lantern* holder* t-light* candlestick* nightlight* "
                 "candleholder*"),
    ("kitchen", "cake* tea teapot* coffee mug* cup cups bowl* plate* lunch kitchen baking cutlery "
                "bottle* jar* jam tin tins spoon* egg* pantry recipe apron* oven jug* glass "
                "tumbler* cookie* biscuit* food fridge jelly measuring mould* tray* cooking sugar "
                "popcorn ice scales dish* snack* bread sandwich water teatime toast* mixing "
                "chopping breakfast coaster* placemat* colander sieve whisk rolling cutter*"),
    ("garden", "garden* plant* seed* watering bird birdhouse herb picnic umbrella* parasol "
               "flower* grow fork trowel butterfl* windmill gnome*"),
    ("storage", "box boxes storage drawer* cabinet basket* shelf cupboard chest trinket crate "
                "rack hook* hanger* hangers organiser wicker laundry"),
    ("decoration", "sign heart* frame* clock* wall door doormat* cushion* mirror* decoration* "
                   "hanging wooden metal knob* doorstop* picture* photo vintage antique zinc "
                   "cornice ornament* fabric rug throw quilt wreath* slate star home love block*"),
    ("craft", "craft* felt* sewing kit knit* button* patchwork embroidery needle*"),
    ("beauty", "necklace* bracelet* earring* ring hair* soap hand warmer* bath travel plasters "
               "mirror compact hairband sponge wash* scarf glove* jewel* socks hot towel*"),
)  # fmt: skip
OTHER = "other"


class Product(NamedTuple):
    """One product: stock code, title, category and median price in pounds."""

    code: str
    title: str
    category: str
    price: float


class OrderLine(NamedTuple):
    """One line of an order; `time` in unix seconds (the shop's clock read as UTC)."""

    order: int
    customer: int
    time: int
    product: str
    quantity: int
    price: float


def select_subset(table: str) -> tuple[list[Product], list[OrderLine]]:
    """Return products and order lines of the subset of the published CSV `table`.

    Products are the 1,000 with the most distinct buyers (ties by code), in that order.
    Lines are those of customers who bought at least 5 of them, by customer and time.
    Cancellations, gifts at price 0 and lines without a customer are left out.
    """
    lines, titles = _sales(table)
    buyers = defaultdict(set)
    for line in lines:
        buyers[line.product].add(line.customer)
    codes = sorted(buyers, key=lambda code: (-len(buyers[code]), code))[:PRODUCTS]
    bought = Counter(customer for code in codes for customer in buyers[code])
    subset = _subset_lines(lines, set(codes), bought)
    return _products(codes, titles, subset), subset


def category(title: str) -> str:
    """Return a coarse category from the words of a title."""
    words = re.findall(r"[a-z-]+", title.lower())
    for name, keys in CATEGORIES:
        if any(_matches(word, key) for word in words for key in keys.split()):
            return name
    return OTHER


def write_products(products: Iterable[Product]) -> str:
    """Return the products as CSV."""
    rows = (
        (product.code, product.title, product.category, f"{product.price:.2f}")
        for product in products
    )
    return _write(("product", "title", "category", "price"), rows)


def write_lines(lines: Iterable[OrderLine]) -> str:
    """Return the order lines as CSV."""
    columns = ("order", "customer", "time", "product", "quantity", "price")
    rows = (
        (
            line.order,
            line.customer,
            line.time,
            line.product,
            line.quantity,
            f"{line.price:g}",
        )
        for line in lines
    )
    return _write(columns, rows)


def read_products(table: str) -> list[Product]:
    """Parse the output of `write_products`."""
    return [
        Product(row["product"], row["title"], row["category"], float(row["price"]))
        for row in csv.DictReader(io.StringIO(table))
    ]


def read_lines(table: str) -> list[OrderLine]:
    """Parse the output of `write_lines`."""
    rows = csv.reader(io.StringIO(table))
    next(rows)  # headings
    lines = []
    for order, customer, time, product, quantity, price in rows:
        line = OrderLine(
            order=int(order),
            customer=int(customer),
            time=int(time),
            product=product,
            quantity=int(quantity),
            price=float(price),
        )
        lines.append(line)
    return lines


def _sales(table: str) -> tuple[list[OrderLine], dict[str, Counter[str]]]:
    """Return all sales to customers, and counts of each product's descriptions."""
    lines, titles = [], defaultdict[str, Counter[str]](Counter)
    for row in csv.DictReader(io.StringIO(table)):
        if (line := _sale(row)) is not None:
            lines.append(line)
            titles[line.product][" ".join(row["Description"].split())] += 1
    return lines, titles


def _sale(row: dict[str, str]) -> OrderLine | None:
    """Return the line in `row`; None if it is no sale of a product to a customer."""
    code, order, customer = (
        row["StockCode"].upper(),
        row["InvoiceNo"],
        row["CustomerID"],
    )
    # The number of a cancelled order starts with "C".
    if not (PRODUCT_CODE.fullmatch(code) and order.isdigit() and customer.isdigit()):
        return None
    quantity, price = int(float(row["Quantity"])), float(row["UnitPrice"])
    if quantity <= 0 or price <= 0:
        return None
    time = _unix_time(row["InvoiceDate"])
    return OrderLine(int(order), int(customer), time, code, quantity, price)


# Lines of one order have the same time, and parsing it is slow.
@lru_cache(maxsize=1024)
def _unix_time(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _subset_lines(
    lines: list[OrderLine], codes: set[str], bought: Counter[int]
) -> list[OrderLine]:
    """Return the lines of products in `codes` by customers who bought enough."""
    subset = [
        line
        for line in lines
        if bought[line.customer] >= LEAST_PRODUCTS and line.product in codes
    ]
    return sorted(subset, key=lambda line: (line.customer, line.time, line.order))


def _products(
    codes: list[str], titles: dict[str, Counter[str]], lines: list[OrderLine]
) -> list[Product]:
    """Return the products with their most frequent title and their median price."""
    prices = defaultdict[str, list[float]](list)
    for line in lines:
        prices[line.product].append(line.price)
    products = []
    for code in codes:
        title = _most_frequent(titles[code])
        price = round(median(prices[code]), 2)
        products.append(Product(code, title.capitalize(), category(title), price))
    return products


def _most_frequent(counts: Counter[str]) -> str:
    """Return the most frequent text; of several, the first in alphabetical order."""
    return min(counts, key=lambda text: (-counts[text], text))


def _matches(word: str, key: str) -> bool:
    if key.endswith("*"):
        return word.startswith(key[:-1])
    return word == key


def _write(names: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()
