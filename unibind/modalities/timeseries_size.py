"""How large a recording may be."""

from unibind.errors import InvalidInputError

__all__ = ["MAX_CHANNELS", "MAX_VALUES", "check_size"]

MAX_VALUES = 20_000_000
"""Channels x steps that are read at most: 80 MB once read, 160 MB on the way."""

MAX_CHANNELS = 1024


def check_size(n_rows: int, n_columns: int, what: str) -> None:
    """Refuse a table that is too large, before it is parsed.

    Args:
        n_rows: Rows that are announced or counted.
        n_columns: Columns of each.
        what: What announces them, for the message.

    Raises:
        InvalidInputError: There are more than `MAX_VALUES` values.
    """
    if n_rows * n_columns > MAX_VALUES:
        found = (
            f"{n_rows:,} rows of {n_columns:,} values" if n_columns > 1 else f"{n_rows:,} values"
        )
        raise InvalidInputError(
            f"{what} has {found}; at most {MAX_VALUES:,} values are read: "
            "cut it into shorter recordings, or sample it down"
        )
