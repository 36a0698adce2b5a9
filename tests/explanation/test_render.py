"""A page shows what stands in its record, and nothing in it becomes markup."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.explanation import render, svg
from ml.explanation.document import Column, Document, Facts, Missing, Picture, Points, Section, Table, Text
from ml.quality.report import printable
from tests.explanation import pages
from tests.models import HOSTILE


def page(text: str) -> Document:
    """A page that shows a text everywhere."""
    drawing = svg.histogram([1, 2], [2, 1], text)
    days = svg.over_time([text, text], [0.1, 0.2], [(text, 0, 1)], text, percent=True, interval=([0, 0.1], [0.2, 0.3]))
    blocks = (
        Text(text),
        Missing(text),
        Points((text, text)),
        Facts(((text, text),)),
        Table((Column(text), Column("drawn"), Column(text, True)), ((text, drawing, text),)),
        Picture(days, text),
        Picture(svg.heat_map([text, text], np.eye(2), text), text),
    )
    return Document(text, text, text, text, ((text, text),), (Section(text, blocks),))


PLAIN = {*pages.tags(render.html(page("plain")))}


def test_a_hostile_text_adds_no_tag() -> None:
    told = render.html(page(HOSTILE))
    assert pages.tags(told) == PLAIN
    assert "<script" not in told
    assert "\u202e" not in told


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_any_text_comes_back_from_html_and_from_markdown(text: str) -> None:
    shown = printable(text)
    told = render.html(page(text))
    assert pages.tags(told) == PLAIN
    in_html, in_markdown = pages.of_html(told), pages.of_markdown(render.markdown(page(text)))
    assert in_html[1][1] == [shown, shown]
    cells = [cell for table in in_markdown for row in table for cell in row if cell]
    assert set(cells) <= {shown.strip(), ""}


def test_markdown_holds_no_html_and_no_link() -> None:
    told = render.markdown(page(HOSTILE))
    assert "<" not in told.replace("(<", "")
    assert not re.search(r"(?<!\\)\]\((?!<)", told)
    assert len({line.count("|") for line in told.splitlines() if line.startswith("| ") and "drawn" not in line}) <= 2
    assert [line for line in told.splitlines() if line.startswith("#")] == [
        f"# {render.escaped(HOSTILE)} ({render.escaped(HOSTILE)})",
        f"## {render.escaped(HOSTILE)}",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customer_amount_mean_7d", "customer_amount_mean_7d"),
        ("_private_", "\\_private\\_"),
        ("https://a.example", "https\\://a.example"),
        ("+0.0345", "+0.0345"),
    ],
)
def test_names_and_figures_stay_readable_in_markdown(text: str, expected: str) -> None:
    assert render.escaped(text) == expected


def test_a_paragraph_starts_no_list(tmp_path: Path) -> None:
    for text in ("- a", "1. a", "+ a", "12) a"):
        document = dataclasses.replace(page("x"), sections=(Section("s", (Text(text),)),))
        assert f"\n{text}\n" not in render.markdown(document)


def test_a_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(b"\x89PNG")
    document = dataclasses.replace(page("x"), sections=(Section("s", (Picture(picture, "told"),)),))
    told = render.html(document)
    assert "default-src 'none'" in told
    assert 'src="data:image/png;base64,iVBORw==' in told
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", told)
    assert "![told](<dot.png>)" in render.markdown(document)


def test_a_row_that_does_not_fit_its_head_is_refused() -> None:
    with pytest.raises(ValueError, match="a row has 2 cells under 1 heads"):
        Table((Column("a"),), (("1", "2"),))
