"""Tests of the report: figures, tables, the site."""
