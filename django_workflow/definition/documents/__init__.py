"""Flows as text: a format in YAML and JSON that says everything a declaration can say.

`parse` reads a text with all of its problems, `read` refuses one that has any, `write` gives the text of a definition.
"""

from django_workflow.definition.documents.nodes import MAX_LENGTH
from django_workflow.definition.documents.reading import Document, format_of, parse, read
from django_workflow.definition.documents.schema import SCHEMA
from django_workflow.definition.documents.writing import write

__all__ = ["MAX_LENGTH", "SCHEMA", "Document", "format_of", "parse", "read", "write"]
