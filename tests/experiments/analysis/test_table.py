import pytest

from experiments.analysis.table import Table, markdown


def test_a_table_can_be_made_by_column():
    table = Table.by_column("Sizes", ["a", "b"], {"width": ["1", "2"], "height": ["3", "4"]})
    assert table == Table("Sizes", ["", "width", "height"], [["a", "1", "3"], ["b", "2", "4"]])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Table.by_column("Sizes", ["a", "b"], {"width": ["1"]})


def test_markdown_aligns_the_columns_behind_the_first():
    text = markdown(["", "width"], [["a", "1"]], "---:")
    assert text == "|  | width |\n| --- | ---: |\n| a | 1 |\n"


def test_numbers_are_shown_by_the_format_of_their_column_or_with_three_digits():
    rows = [["a", 12, 0.123456, 2.0, None], ["b", "none", 12345.6, float("nan"), 1.5]]
    table = Table("Sizes: of two", ["", "count", "width", "depth", "x"], rows, {"depth": ".1f"})
    assert table.texts() == [
        ["a", "12", "0.123", "2.0", ""],
        ["b", "none", "12300", "", "1.50"],
    ]


@pytest.mark.parametrize("rest", ["", ", full batch", ": all", "; all", " (all)"])
def test_the_name_of_a_table_is_the_beginning_of_its_title(rest):
    assert Table(f"At the edge gd(.2){rest}", [], []).name == "at the edge gd(.2)"
