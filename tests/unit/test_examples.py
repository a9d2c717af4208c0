from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "crm-examples").glob("*.crm"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_no_comment_has_two_hyphens(example: Path) -> None:
    # crmsh keeps comments as XML comments, and refuses the whole file where one has them: no long options there.
    assert [line for line in example.read_text().splitlines() if line.startswith("#") and "--" in line] == []
