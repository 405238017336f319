"""Many rows in few statements, as each of the databases takes them fastest.

SQLite runs in this process: there a statement for each row costs next to nothing. PostgreSQL
answers each, so it gets columns as arrays, and makes rows of them (`unnest`). That is for numbers
and short texts: of JSON the driver escapes every quote, which takes longer than it saves.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ARRAY, Connection, Select, Table, bindparam, func, select
from sqlalchemy.sql.dml import Insert

_ROWS_AT_ONCE: Final = 5000


def insert_rows(
    connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Execute an INSERT for many rows, all of them of the same columns.

    With an ON CONFLICT clause no two of the rows may have the same key: PostgreSQL changes no
    row twice in one statement.
    """
    if connection.dialect.name == "sqlite":
        if rows:
            connection.execute(statement, rows)
        return
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        names = tuple(some[0])
        made = statement.from_select(names, _rows_of_arrays(statement.table, names))
        connection.execute(made, {name: [row[name] for row in some] for name in names})


@cache
def _rows_of_arrays(table: Table, names: tuple[str, ...]) -> Select[Any]:
    """Select the rows of arrays that are bound by the names of a table's columns."""
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    rows = func.unnest(*arrays).table_valued(*names).render_derived()
    return select(*(rows.c[name] for name in names))
