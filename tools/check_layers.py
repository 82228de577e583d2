#!/usr/bin/env python3
"""Holds every #include under src/ to tools/layers.txt. Prints each breach; exits 1 if there is one."""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
TEST_FILE = re.compile(r"_(test|fuzz|bench)\.cc$")


class Layers:
    """The parsed rules: `may` by folder (None is everything), `only` as (prefix, allowed places)."""

    def __init__(self, text):
        self.may = {}
        self.only = []
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.split("#", 1)[0].strip()
            if not line:
                continue
            if line.startswith("only:"):
                header, _, places = line[len("only:"):].partition("->")
                if not header.strip() or not places.split():
                    raise ValueError(f"layers.txt:{number}: an only: row is `only: header -> place…`")
                self.only.append((header.strip(), places.split()))
                continue
            folder, found, rest = line.partition("<")
            if not found:
                raise ValueError(f"layers.txt:{number}: a row is `folder < folder…`")
            names = rest.split()
            self.may[folder.strip()] = None if names == ["*"] else set(names)
        for folder, names in self.may.items():
            for name in names or ():
                if name not in self.may:
                    raise ValueError(f"layers.txt: {folder} may include {name}, which has no row")

    def breach(self, path, header):
        """Why `path` (relative to src/) must not include `header`; None if it may."""
        folder = path.split("/", 1)[0]
        is_test = TEST_FILE.search(path) is not None or folder == "testing"
        if folder not in self.may:
            return f"folder {folder} has no row in tools/layers.txt"
        for prefix, places in self.only:
            if header == prefix or header.startswith(prefix.rstrip("/") + "/") or (
                    prefix.startswith("boost/") and header == prefix + ".hpp"):
                inside = any(path == place or path.startswith(place + "/") for place in places)
                own = header.split("/", 1)[0] == folder and prefix == header
                if not inside and not own:
                    return f"<{header}> is for {', '.join(places)} only"
        target = header.split("/", 1)[0]
        if "/" not in header or target not in self.may or target == folder:
            return None
        if target == "testing":
            return None if is_test else "testing/ is for *_test.cc, *_fuzz.cc and *_bench.cc only"
        allowed = self.may[folder]
        if allowed is None or target in allowed:
            return None
        return f"{folder}/ may not include {target}/ (tools/layers.txt)"


def check(src, layers):
    """Every breach below `src`, as `file:line: why`."""
    found = []
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        name = path.relative_to(src).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quoted, angled = match.groups()
            if quoted and "/" not in quoted:
                found.append(f'src/{name}:{number}: write the folder: #include "{name.split("/")[0]}/{quoted}"')
                continue
            why = layers.breach(name, quoted or angled)
            if why:
                found.append(f"src/{name}:{number}: {why}")
    return found


def main():
    root = Path(__file__).resolve().parent.parent
    found = check(root / "src", Layers((root / "tools/layers.txt").read_text(encoding="utf-8")))
    print("\n".join(found) if found else "layers: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
