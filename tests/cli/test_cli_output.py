"""What is printed and with which exit code, whatever was raised."""

import pytest

from unibind.cli.output import printable, report_errors
from unibind.errors import InvalidInputError, PluginError


def test_what_is_raised_on_purpose_is_one_line_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as stopped, report_errors():
        raise InvalidInputError("two\nlines.png: no picture")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: two\\nlines.png: no picture\n"


def test_a_traceback_is_shown_to_who_asks_for_it(monkeypatch):
    monkeypatch.setenv("UNIBIND_TRACEBACK", "1")
    with pytest.raises(InvalidInputError), report_errors():
        raise InvalidInputError("no picture")


def _interrupted_while_loading() -> None:
    """Raise what Ctrl-C becomes while a compiled module loads."""
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error
    except ImportError as error:
        raise PluginError("the encoder does not import") from error


def test_ctrl_c_behind_an_error_is_an_interruption(capsys):
    with pytest.raises(SystemExit) as stopped, report_errors():
        _interrupted_while_loading()
    assert stopped.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted; what was finished is kept")


@pytest.mark.parametrize("error", [ImportError("no module"), ZeroDivisionError("a bug")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)), report_errors():
        raise error


def test_what_is_invisible_is_shown_as_its_escape():
    assert printable("a b 猫\n\t\x1b[2J\u202e\udcff") == "a b 猫\\n\\t\\x1b[2J\\u202e\\udcff"


def test_an_error_that_is_its_own_cause_is_told_at_once(capsys):
    error = InvalidInputError("no such set")
    other = InvalidInputError("while looking for it")
    error.__cause__, other.__cause__ = other, error
    with pytest.raises(SystemExit) as stopped, report_errors():
        raise error
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: no such set\n"
