import pytest

from experiments.analysis.table import Table, markdown


def test_a_table_can_be_made_by_column():
    table = Table.by_column("Sizes", ["a", "b"], {"width": ["1", "2"], "height": ["3", "4"]})
    assert table == ("Sizes", ["", "width", "height"], [["a", "1", "3"], ["b", "2", "4"]])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Table.by_column("Sizes", ["a", "b"], {"width": ["1"]})


def test_markdown_aligns_the_columns_behind_the_first():
    text = markdown(["", "width"], [["a", "1"]], "---:")
    assert text == "|  | width |\n| --- | ---: |\n| a | 1 |\n"
