"""Sphinx's settings. Django is set up, because parts of the reference are made from the code itself; no database is."""

import os
import sys
import tomllib
from pathlib import Path

import django

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

project = "django_workflow"
author = "django_workflow contributors"
copyright = author
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "directives"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "directives"]
default_role = "code"  # docstrings say `x`
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures stay readable; the types are in the code
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_title = "django_workflow"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
