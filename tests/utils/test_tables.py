from hf_dynbert.utils.tables import markdown_table, print_table


def test_print_table_to_a_pipe_keeps_every_character(capsys):
    cells = ["[bold]name[/bold]", "x" * 300]
    print_table(["budget", "F1"], [cells, ["full", "90.00"]], title="A title")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "A title"
    assert any("budget" in line and "F1" in line for line in lines)
    assert any(cells[0] in line and cells[1] in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_print_table_without_headers_prints_the_values_alone(capsys):
    print_table(["", ""], [["f1", "71.2"], ["macs", "3"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines == [["f1", "71.2"], ["macs", "3"]]


def test_markdown_table_keeps_cells_in_their_columns():
    text = markdown_table(["a", "b"], [["1|2", "line\nbreak"]])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| 1\\|2 | line break |"]
