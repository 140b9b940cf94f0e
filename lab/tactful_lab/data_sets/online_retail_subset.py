"""How the bundled subset of online-retail is chosen: by rules on the public file, with no coin."""

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
PRODUCT_CODE = re.compile(
    r"\d{5}[A-Z]{0,2}"
)  # postage, fees and manual entries have other codes

# The first row with a word of the title decides; a word ending in "*" stands for all it begins.
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
    """One product: its stock code, a title for people, a category, the median price in pounds."""

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


def cut(table: str) -> tuple[list[Product], list[OrderLine]]:
    """The subset of the published csv `table`: products by buyers, lines by customer and time.

    The 1,000 products with the most distinct buyers (ties by code), then every customer who
    bought at least 5 of them; cancellations, gifts at price 0 and lines without a customer
    are left out.
    """
    lines, titles = _sales(table)
    buyers = defaultdict(set)
    for line in lines:
        buyers[line.product].add(line.customer)
    codes = sorted(buyers, key=lambda code: (-len(buyers[code]), code))[:PRODUCTS]
    bought = Counter(customer for code in codes for customer in buyers[code])
    kept = _kept(lines, set(codes), bought)
    return _products(codes, titles, kept), kept


def category(title: str) -> str:
    """A coarse, public category from the words of a title."""
    words = re.findall(r"[a-z-]+", title.lower())
    for name, keys in CATEGORIES:
        if any(_matches(word, key) for word in words for key in keys.split()):
            return name
    return OTHER


def write_products(products: Iterable[Product]) -> str:
    """The products as csv."""
    return _write(
        ("product", "title", "category", "price"),
        ((one.code, one.title, one.category, f"{one.price:.2f}") for one in products),
    )


def write_lines(lines: Iterable[OrderLine]) -> str:
    """The order lines as csv."""
    return _write(
        ("order", "customer", "time", "product", "quantity", "price"),
        (
            (
                one.order,
                one.customer,
                one.time,
                one.product,
                one.quantity,
                f"{one.price:g}",
            )
            for one in lines
        ),
    )


def read_products(table: str) -> list[Product]:
    """What `write_products` wrote."""
    return [
        Product(row["product"], row["title"], row["category"], float(row["price"]))
        for row in csv.DictReader(io.StringIO(table))
    ]


def read_lines(table: str) -> list[OrderLine]:
    """What `write_lines` wrote."""
    rows = csv.reader(io.StringIO(table))
    next(rows)
    return [
        OrderLine(int(order), int(who), int(when), what, int(many), float(price))
        for order, who, when, what, many, price in rows
    ]


def _sales(table: str) -> tuple[list[OrderLine], dict[str, Counter[str]]]:
    """All lines that are sales to a customer, and the descriptions each product goes by."""
    lines, titles = [], defaultdict[str, Counter[str]](Counter)
    for row in csv.DictReader(io.StringIO(table)):
        if (line := _sale(row)) is not None:
            lines.append(line)
            titles[line.product][" ".join(row["Description"].split())] += 1
    return lines, titles


def _sale(row: dict[str, str]) -> OrderLine | None:
    """The line in `row`; None if it is no sale of a product to a known customer."""
    code, order = row["StockCode"].upper(), row["InvoiceNo"]
    if not (
        PRODUCT_CODE.fullmatch(code) and order.isdigit() and row["CustomerID"].isdigit()
    ):
        return None
    quantity, price = int(float(row["Quantity"])), float(row["UnitPrice"])
    when = _unix_time(row["InvoiceDate"])
    line = OrderLine(int(order), int(row["CustomerID"]), when, code, quantity, price)
    return line if quantity > 0 and price > 0 else None


@lru_cache(maxsize=1024)  # an order's lines share their time
def _unix_time(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())


def _kept(
    lines: list[OrderLine], codes: set[str], bought: Counter[int]
) -> list[OrderLine]:
    kept = [
        line
        for line in lines
        if bought[line.customer] >= LEAST_PRODUCTS and line.product in codes
    ]
    return sorted(kept, key=lambda line: (line.customer, line.time, line.order))


def _products(
    codes: list[str], titles: dict[str, Counter[str]], lines: list[OrderLine]
) -> list[Product]:
    prices = defaultdict[str, list[float]](list)
    for line in lines:
        prices[line.product].append(line.price)
    named = {
        code: min(titles[code], key=lambda text: (-titles[code][text], text))
        for code in codes
    }
    return [
        Product(
            code,
            named[code].capitalize(),
            category(named[code]),
            round(median(prices[code]), 2),
        )
        for code in codes
    ]


def _matches(word: str, key: str) -> bool:
    return word.startswith(key[:-1]) if key.endswith("*") else word == key


def _write(names: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()
