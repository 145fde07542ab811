"""Reads the data source on the standard input as DataGrip's import does; prints URL, user and driver. See README.md."""

import sys
from xml.etree import ElementTree

title, named, begin, source, end = sys.stdin.read().strip().split("\n")
assert (title, begin, end) == ("#DataSourceSettings#", "#BEGIN#", "#END#"), "what the import looks for"
tree = ElementTree.fromstring(source)
assert named == f"#LocalDataSource: {tree.get('name')}"
for field in ("jdbc-url", "user-name", "jdbc-driver"):
    print(tree.findtext(field))
