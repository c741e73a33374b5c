import pytest

from experiments.commands import bench, report, search


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (bench, ["cots"], "cots: choose from tracking"),
        (report, [], "name at least one PLACE with results"),
        (report, ["--markdwn", "folder"], "unrecognized arguments: --markdwn"),
        (search, [], "the following arguments are required: study"),
    ],
)
def test_a_mistake_is_one_line(command, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert caught.value.code == 1
