from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ocf_common import packages
from ocf_common.outcomes import Attention


def test_an_installed_package_is_imported():
    assert packages.load("pytest") is pytest


def test_a_dotted_name_returns_the_leaf():
    assert packages.load("os.path") is sys.modules["os.path"]


@pytest.mark.parametrize(
    "module, words",
    [
        ("no_such_module", "python3-no_such_module is not installed: apt install python3-no_such_module / dnf install"),
        ("no_such_module.part", "python3-no_such_module is not installed"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(module, words):
    with pytest.raises(packages.PackageMissing, match=words) as caught:
        packages.load(module)
    assert isinstance(caught.value, Attention)
    assert "\n" not in caught.value.reason


def test_the_rhel_name_is_given_where_it_differs(monkeypatch):
    monkeypatch.setitem(packages.DISTRIBUTION_NAMES, "no_such_module", "python3-a (RHEL: python3-A)")
    with pytest.raises(packages.PackageMissing, match=r"apt install python3-a / dnf install python3-A$"):
        packages.load("no_such_module")


def test_a_broken_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(packages.PackageMissing, match="cannot be imported: No module named 'no_such_dependency'"):
        packages.load("broken_package")


def test_the_folders_are_those_of_debian_and_rhel():
    found = packages.folders(3, 9)
    assert found[0] == "/usr/local/lib/python3.9/dist-packages"
    assert "/usr/lib/python3/dist-packages" in found
    assert "/usr/lib64/python3.9/site-packages" in found


def test_nothing_is_added_where_site_is_at_work():
    before = list(sys.path)
    packages.enable()
    assert sys.path == before


def test_folders_are_added_once_where_site_is_not():
    root = str(Path(packages.__file__).parent.parent)
    code = (
        f"import sys; sys.path.append({root!r}); from ocf_common import packages; packages.enable(); "
        "packages.enable(); print('site' in sys.modules, sys.path.count('/usr/lib/python3/dist-packages'))"
    )
    result = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "1"]
