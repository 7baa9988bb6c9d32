"""What a licence is, and what it asks."""

from __future__ import annotations

import pytest

from example_project.audit import licences


@pytest.mark.parametrize(
    ("licence", "family"),
    [
        ("MIT", "permissive"),
        ("BSD-3-Clause", "permissive"),
        ("Apache Software License", "permissive"),
        ("Apache 2.0", "permissive"),
        ("PSF-2.0", "permissive"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "weak"),
        ("LGPL-3.0-only", "weak"),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", "weak"),
        ("GPLv3", "strong"),
        ("GNU General Public License v3 (GPLv3)", "strong"),
        ("AGPL-3.0-or-later", "strong"),
        ("Other/Proprietary License", "proprietary"),
        ("see the file LICENSE", "unclear"),
        ("Dual License", "unclear"),
        ("", "unclear"),
    ],
)
def test_a_licence_belongs_to_a_family(licence, family):
    assert licences.family(licence) == family


@pytest.mark.parametrize(
    ("expression", "family"),
    [
        ("MIT OR GPL-3.0-only", "permissive"),
        ("MIT AND GPL-3.0-only", "strong"),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "weak"),
        ("(MIT OR GPL-2.0-only) AND LGPL-2.1-or-later", "weak"),
        ("MIT AND BSD-3-Clause OR GPL-3.0-only", "permissive"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "weak"),
        ("Apache-2.0 WITH LLVM-exception", "permissive"),
        ("MIT AND LicenseRef-Ours", "unclear"),
        ("mit or apache-2.0", "permissive"),
    ],
)
def test_an_expression_is_read_as_spdx_means_it(expression, family):
    assert licences.family(expression) == family


@pytest.mark.parametrize("broken", ["(MIT", "MIT OR", "MIT)", "AND", "MIT WITH", "()", "MIT BSD"])
def test_a_broken_expression_is_judged_by_its_words(broken):
    assert licences.family(broken) == licences.family_of_name(broken)


@pytest.mark.parametrize("text", ["a simple example", "permitted", "submitted", "isolated", "replaced"])
def test_no_licence_is_found_inside_of_words(text):
    assert licences.family(text) == "unclear"


def test_the_most_exact_declaration_counts():
    classifiers = ["Programming Language :: Python", "License :: OSI Approved :: MIT License"]
    assert licences.declared(expression="MIT-0", classifiers=classifiers, field="BSD") == ("MIT-0", "expression")
    assert licences.declared(expression="", classifiers=classifiers, field="BSD") == ("MIT License", "classifier")
    assert licences.declared(expression="", classifiers=[], field="BSD") == ("BSD", "field")
    assert licences.declared(expression="", classifiers=[], field="") == ("", "")


def test_a_classifier_that_says_only_that_there_is_one_is_passed_over():
    assert licences.declared(expression="", classifiers=["License :: OSI Approved"], field="ISC") == ("ISC", "field")


def test_a_whole_licence_in_the_field_is_recognised():
    field = "Copyright (c) somebody\n\nPermission is hereby granted,\n   free of charge, to any person"
    assert licences.declared(expression="", classifiers=[], field=field) == ("MIT", "field")


def test_an_unknown_text_in_the_field_is_known_by_its_first_line():
    field = "\n  Our own terms\n\nDo as you are told."
    assert licences.declared(expression="", classifiers=[], field=field) == ("Our own terms", "field")
