#!/usr/bin/env python3
"""Counts test cases out of the runners' own reports, for the last line of ./dev test.

    count_tests.py [--expect TEXT] ctest CTEST_XML GTEST_XML_DIR
    count_tests.py node NODE_XML
    count_tests.py python FOLDER          runs the unittest files in FOLDER and counts them

Appends `PASSED FAILED` to the file named by PTG_COUNTS and lists what failed. A skipped test is a
failed one: nothing is left out in silence. No tests at all is a failure. --expect fails the run if no
test's name contains TEXT (an engine that was not there to be tested).
"""

import os
import sys
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path


def cases(xml):
    """(name, why it did not pass or None) of every <testcase>; gtest, ctest and node write the same."""
    for case in ET.parse(xml).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        why = None
        if case.find("failure") is not None or case.find("error") is not None:
            why = "failed"
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            why = "skipped"
        elif case.get("status") == "fail":
            why = "failed"
        yield name, why


def count_ctest(report, folder):
    """gtest's cases where a binary wrote them; ctest's verdict for everything else and for crashes."""
    found = []
    for name, why in cases(report):
        binary = name.rsplit(".", 1)[-1]
        own = Path(folder) / f"{binary}.xml"
        inner = []
        if own.exists() and own.stat().st_size > 0:
            try:
                inner = [(f"{binary}: {n}", w) for n, w in cases(own)]
            except ET.ParseError:
                inner = []  # It died while writing; ctest's verdict stands.
        found += inner
        if not inner or (why and not any(w for _, w in inner)):
            found.append((binary, why))
    return found


def count_python(folder):
    suite = unittest.defaultTestLoader.discover(folder, pattern="*_test.py")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=1).run(suite)
    bad = [(str(t), "failed") for t, _ in result.failures + result.errors]
    bad += [(str(t), "skipped") for t, _ in result.skipped]
    return bad + [("", None)] * (result.testsRun - len(bad))


def verdict(found, expect):
    """(passed, failed, lines to print)."""
    bad = [f"{why}: {name}" for name, why in found if why]
    if not found:
        bad.append("failed: no tests were run")
    if expect and not any(expect.lower() in name.lower() for name, _ in found):
        bad.append(f"failed: no test with '{expect}' in its name was run")
    return len([1 for _, why in found if not why]), len(bad), bad


def main(arguments):
    expect = None
    if arguments[:1] == ["--expect"]:
        expect, arguments = arguments[1], arguments[2:]
    if len(arguments) == 3 and arguments[0] == "ctest":
        found = count_ctest(arguments[1], arguments[2])
    elif len(arguments) == 2 and arguments[0] == "node":
        found = list(cases(arguments[1]))
    elif len(arguments) == 2 and arguments[0] == "python":
        found = count_python(arguments[1])
    else:
        print(__doc__)
        return 2
    passed, failed, lines = verdict(found, expect)
    print("\n".join(lines + [f"counted: {passed} passed, {failed} failed"]))
    if os.environ.get("PTG_COUNTS"):
        with open(os.environ["PTG_COUNTS"], "a", encoding="utf-8") as out:
            out.write(f"{passed} {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
