"""The subset of online-retail follows its rules and can be written and read."""

import pytest

from tactful_lab.data_sets import online_retail_subset

TABLE = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,10001a,RED  MUG,2,2011-01-01 10:00:00,1.5,7,UK
C2,10001A,RED MUG,-2,2011-01-02 10:00:00,1.5,7,UK
3,POST,POSTAGE,1,2011-01-02 10:00:00,18,7,UK
4,10002,GIFT,1,2011-01-02 10:00:00,0,7,UK
5,10003,BUNTING,1,2011-01-02 10:00:00,4.5,NA,UK
"""


def test_only_sales_of_products_to_customers_are_selected() -> None:
    lines, titles = online_retail_subset._sales(TABLE)

    assert [(line.product, line.quantity, line.price) for line in lines] == [
        ("10001A", 2, 1.5)
    ]
    assert dict(titles["10001A"]) == {"RED MUG": 1}


def test_products_and_lines_can_be_written_and_read() -> None:
    lines, _ = online_retail_subset._sales(TABLE)
    product = online_retail_subset.Product("10001A", 'Mug, "red"', "kitchen", 1.5)

    assert (
        online_retail_subset.read_lines(online_retail_subset.write_lines(lines))
        == lines
    )
    assert online_retail_subset.read_products(
        online_retail_subset.write_products([product])
    ) == [product]


@pytest.mark.parametrize(
    ("title", "category"),
    [
        ("LUNCH BAG RED RETROSPOT", "bags"),
        ("PAPER CHAIN KIT 50'S CHRISTMAS", "christmas"),
        ("REGENCY CAKESTAND 3 TIER", "kitchen"),
        ("SOMETHING ELSE ENTIRELY", "other"),
    ],
)
def test_the_category_follows_from_words_of_the_title(
    title: str, category: str
) -> None:
    assert online_retail_subset.category(title) == category
