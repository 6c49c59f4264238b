import datetime
import sqlite3

import pyarrow as pa
import pytest
from pydantic import ValidationError

from danlu.blocks import sql as block
from danlu.core.errors import DataError, Fault, MachineError, RecipeError
from danlu.core.resolve import resolve
from danlu.plugins.sources.sql import SQL

ROWS = [(1, "warm", "good", 0.5), (2, "cold", None, 2.0), (3, "a:b", "good", None)]


def conforming(folder):
    version = "SELECT max(id), count(*) FROM reviews"
    return {"sql": {"url": f"sqlite:///{make(folder)}", "table": "reviews", "state": version}}


def make(folder, *more):
    path = folder / "shop.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT, label TEXT, score REAL)")
        db.executemany("INSERT INTO reviews VALUES (?, ?, ?, ?)", [*ROWS, *more])
    db.close()
    return path


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{make(tmp_path)}"


def table(source):
    return pa.Table.from_batches(source.rows())


def notes(source):
    return (table(source).schema.metadata or {}).get(b"danlu.notes", b"").decode()


def test_a_table_and_a_query(url):
    rows = [dict(zip(("id", "text", "label", "score"), row, strict=True)) for row in ROWS]
    whole = SQL(url=url, table="reviews")
    assert table(whole).to_pylist() == rows
    assert notes(whole) == ""
    assert whole.origin(1) == "reviews, row 2"
    query = (
        "WITH good AS (SELECT * FROM reviews WHERE label = 'good; drop') SELECT text FROM reviews WHERE text LIKE '%:b'"
    )
    one = SQL(url=url, query=f"{query} ;  ")
    assert table(one).to_pylist() == [{"text": "a:b"}]
    assert "have no order" in notes(one)


def test_the_types_are_those_of_all_rows_not_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(block, "BATCH", 2)
    path = make(tmp_path, (4, "late", None, 7))
    batches = list(
        SQL(url=f"sqlite:///{path}", query="SELECT id, NULL AS n, label, score FROM reviews ORDER BY id DESC").rows()
    )
    assert [batch.num_rows for batch in batches] == [2, 2]
    assert {str(batch.schema) for batch in batches} == {"id: int64\nn: string\nlabel: string\nscore: double"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("DELETE FROM reviews", "must begin with SELECT or WITH, not DELETE"),
        ("/* SELECT */ DROP TABLE reviews", "not DROP"),
        ("PRAGMA writable_schema = 1", "not PRAGMA"),
        ("SELECT 1; DELETE FROM reviews", "one statement, and here are several"),
        ("WITH gone AS (DELETE FROM reviews RETURNING *) SELECT * FROM gone", "DELETE does not"),
        ("SELECT * INTO copied FROM reviews", "INTO does not"),
        ("SELECT * FROM reviews FOR UPDATE", "UPDATE does not"),
        ("SELECT 'a' -- '\n; DELETE FROM reviews", "several"),
        ("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", r"neither /\*! nor"),
        (r"SELECT '\'' INTO OUTFILE '/tmp/x'", r"neither /\*! nor"),
        ("-- nothing", "not nothing"),
    ],
)
def test_what_is_no_select_is_refused_by_the_recipe(url, query, told):
    with pytest.raises(ValidationError, match=told):
        SQL(url=url, query=query)
    with pytest.raises(ValidationError, match=told):
        SQL(url=url, table="reviews", state=query)


def test_words_in_texts_comments_and_names_write_nothing(url):
    query = """SELECT text AS "delete", 'drop; into' AS b, updated AS c -- update
        FROM (SELECT text, 1 AS updated FROM reviews) /* insert ; */ ORDER BY 1"""
    assert table(SQL(url=url, query=query)).column_names == ["delete", "b", "c"]


def test_the_database_itself_refuses_to_write(url, monkeypatch):
    monkeypatch.setattr("danlu.plugins.sources.sql.check_select", lambda query: query)
    with pytest.raises(DataError, match=r"readonly database|does not return rows"):
        table(SQL(url=url, query="INSERT INTO reviews (text) VALUES ('x') RETURNING id"))
    assert table(SQL(url=url, table="reviews")).num_rows == 3


def test_a_database_or_table_that_is_not_there_is_not_made(tmp_path, url):
    with pytest.raises(DataError, match=r"no\.db: there is no such database"):
        table(SQL(url=f"sqlite:///{tmp_path}/no.db", table="reviews"))
    assert not (tmp_path / "no.db").exists()
    with pytest.raises(DataError, match="no table 'review'; there are: reviews"):
        table(SQL(url=url, table="review"))
    with pytest.raises(DataError, match="no such column: missing"):
        table(SQL(url=url, query="SELECT missing FROM reviews"))
    with pytest.raises(DataError, match="the query gives no rows"):
        table(SQL(url=url, query="SELECT * FROM reviews WHERE id > 9"))
    with pytest.raises(DataError, match="two columns called 'id'"):
        table(SQL(url=url, query="SELECT id, id FROM reviews"))
    with pytest.raises(DataError, match="the column 'x' are not of one kind"):
        table(SQL(url=url, query="SELECT 1 AS x UNION ALL SELECT 'a' ORDER BY 1"))
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(SQL(url=url, table="reviews").rows("test"))


def test_one_query_or_one_table(url):
    with pytest.raises(ValidationError, match="one of the two"):
        SQL(url=url, table="t", query="SELECT 1")
    with pytest.raises(RecipeError, match="needs `query` or `table`"):
        table(SQL(url=url))


def test_a_password_is_never_written_down_or_shown(monkeypatch):
    address = "postgresql+psycopg://me:s3cret@127.0.0.1:9/shop"
    for written in (address, "postgresql+psycopg://127.0.0.1:9/shop?user=me&password=s3cret"):
        faults: list[Fault] = []
        resolve("sources", {"sql": {"url": written, "table": "t"}}, "source", faults)
        assert "a password in a recipe would be kept in every manifest" in str(faults[0])
        assert "s3cret" not in str(faults)
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    monkeypatch.setenv("SHOP", address)
    for source in (SQL(url=address.replace("s3cret", "${SHOP_PASSWORD}"), table="t"), SQL(url="${SHOP}", table="t")):
        assert "s3cret" not in str(source.plain())
        with pytest.raises(MachineError, match=r"me:\*\*\*@127\.0\.0\.1:9/shop: .*refused") as fault:
            table(source)
        assert "s3cret" not in str(fault.value)
        assert fault.value.__cause__ is None
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(RecipeError, match=r"no variable SHOP_PASSWORD\n.*export SHOP_PASSWORD"):
        table(SQL(url=address.replace("s3cret", "${SHOP_PASSWORD}"), table="t"))
    with pytest.raises(RecipeError, match="no variable NOWHERE"):
        table(SQL(url="${NOWHERE}", table="t"))


def test_addresses_that_are_none_and_drivers_that_are_not_here():
    with pytest.raises(RecipeError, match="no address of a database"):
        table(SQL(url="shop", table="t"))
    with pytest.raises((MachineError, RecipeError), match=r"not installed|no kind of database"):
        table(SQL(url="nodb://host/shop", table="t"))
    with pytest.raises(MachineError, match=r"the driver oracledb is not installed\n.*pip install oracledb"):
        table(SQL(url="oracle+oracledb://host/shop", table="t"))


def test_it_is_reused_only_while_its_version_stays(tmp_path):
    url = f"sqlite:///{make(tmp_path)}"
    assert SQL(url=url, table="reviews").fingerprint() is None
    source = SQL(url=url, table="reviews", state="SELECT max(id) FROM reviews")
    before = source.fingerprint()
    assert source.fingerprint() == before
    make(tmp_path, (4, "new", "good", 1.0))
    assert source.fingerprint() != before


def test_dates_and_bytes_keep_their_types_in_sqlite_as_stored(url):
    query = "SELECT x'ff00' AS b, date('2026-01-02') AS d ORDER BY 1"
    assert table(SQL(url=url, query=query)).to_pylist() == [{"b": b"\xff\x00", "d": str(datetime.date(2026, 1, 2))}]
