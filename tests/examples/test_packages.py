"""Reading installed packages, as they should be and as they are."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import django
import pytest

from example_project.audit.packages import find_packages, licence_texts, normalised, read_package


def test_a_real_package_is_read():
    package = read_package("django")
    assert package.name == "Django"
    assert package.version == django.get_version()
    assert (package.licence, package.licence_source) == ("BSD-3-Clause", "expression")
    assert package.file_count > 1_000
    assert package.size > 5_000_000
    assert package.requirement_count >= 2


def test_what_is_installed_is_found_once():
    names, _ = find_packages()
    assert {"django", "psycopg", "jsonschema"} <= {normalised(name) for name in names}
    assert len(names) == len({normalised(name) for name in names})


def test_files_and_sizes_are_those_of_the_record(install):
    install("made-up", files={"made_up/__init__.py": "x" * 100, "made_up/data.txt": "y" * 50})
    package = read_package("Made_Up")
    assert (package.file_count, package.size, package.missing_count) == (2, 150, 0)


def test_files_that_are_gone_are_counted(install, tmp_path):
    install("made-up", files={"made_up/__init__.py": "x" * 100, "made_up/data.txt": "y" * 50})
    (tmp_path / "made_up" / "data.txt").unlink()
    package = read_package("made-up")
    assert (package.file_count, package.size, package.missing_count) == (1, 100, 1)


def test_without_a_record_the_modules_are_measured(install):
    files = {"made_up/__init__.py": "x" * 100, "made_up/deep/er.py": "y" * 50, "made_up.py": "z" * 5}
    install("made-up", files=files, record=False)
    package = read_package("made-up")
    assert (package.file_count, package.size) == (3, 155)


def test_top_level_names_say_which_modules_are_measured(install):
    info = install("made-up", files={"other/__init__.py": "x" * 100, "made_up.py": "z" * 5}, record=False)
    (info / "top_level.txt").write_text("other\n")
    assert read_package("made-up").size == 100


def test_a_package_without_files_has_no_size(install):
    install("made-up", record=False)
    package = read_package("made-up")
    assert (package.file_count, package.size) == (0, 0)


def test_without_a_licence_it_is_empty(install):
    install("made-up", "License: UNKNOWN")
    package = read_package("made-up")
    assert (package.licence, package.licence_source) == ("", "")


@pytest.mark.parametrize("metadata", [None, b"", b"Version: 1.0\n"])
def test_without_metadata_a_package_has_no_name_and_cannot_be_read(install, metadata):
    _, before = find_packages()
    install("made_up", metadata)
    names, nameless = find_packages()
    assert "made_up" not in names
    assert nameless == before + 1
    with pytest.raises(ValueError, match="made_up has no readable metadata"):
        read_package("made_up")


def test_metadata_that_is_no_text_is_no_metadata(install):
    install("made_up", b"Name: made_up\nSummary: \xff\xfe\n")
    with pytest.raises(ValueError, match="no readable metadata"):
        read_package("made_up")


def test_a_package_that_is_not_there_is_not_found():
    with pytest.raises(PackageNotFoundError):
        read_package("there-is-no-such-package")


def test_an_editable_install_is_told(install):
    info = install("made-up")
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    assert read_package("made-up").is_editable


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"dir_info": null}', '{"url": "x", "vcs_info": {}}'])
def test_any_other_origin_is_no_editable_install(install, text):
    info = install("made-up")
    (info / "direct_url.json").write_text(text)
    assert not read_package("made-up").is_editable


def test_licence_files_are_read(install):
    install("made-up", files={"made_up/LICENSE": "one", "made_up/COPYING.txt": "two", "made_up/x.py": "three"})
    assert sorted(licence_texts("made-up")) == ["one", "two"]
