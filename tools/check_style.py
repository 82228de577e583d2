#!/usr/bin/env python3
"""What clang-format and clang-tidy do not see: the project's own bans, each with its reason.

A line may carry `// style: NAME ok, REASON` to be let through by the rule of that name.
Prints each finding; exits 1 if one is an error (long files and functions are only warnings).
"""

import re
import sys
from pathlib import Path

MONEY = ("deal/", "catalog/", "ledger/", "scheme/", "settle/", "rail/", "paywall/", "chain/",
         "codec/uint256", "base/money")
TESTS = re.compile(r"(_test|_fuzz|_bench)\.cc$|^testing/")
MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 70


def everywhere(path):
    return True


def product(*places):
    """Product code outside `places`."""
    return lambda path: not TESTS.search(path) and not path.startswith(places)


def inside(*places):
    return lambda path: path.startswith(places) and not TESTS.search(path)


# name, pattern, where it applies, reason. Matched on code: comments and string contents are blanked.
RULES = [
    ("assert", r"(?<![\w])assert\s*\(", everywhere, "use PTG_CHECK: it holds in every build"),
    ("cout", r"std::c(out|err)\b", product("app/", "testing/"), "log through base/log.h; only app/ talks to a terminal"),
    ("printf", r"(?<![\w:])(printf|puts)\s*\(", product("app/"), "log through base/log.h; only app/ talks to a terminal"),
    ("float", r"\b(float|double)\b", inside(*MONEY), "money is integers"),
    ("clock", r"\b(system_clock|steady_clock)::now\b|(?<![\w.>:])time\s*\(\s*(nullptr|NULL|0)\s*\)|\bgettimeofday\s*\(|\bclock_gettime\s*\(",
     product("base/", "io/"), "take the time from the injected Clock (base/time.h)"),
    ("random", r"(?<![\w.>])s?rand\s*\(|\brandom_device\b|\bmt19937", product("base/"), "take randomness from the injected Rng (base/rng.h)"),
    ("sleep", r"\bsleep_for\b|(?<![\w.>])u?sleep\s*\(", product("base/", "io/", "db/"), "wait on a timer of io/, never on the thread"),
    ("using-std", r"\busing\s+namespace\s+std\s*;", everywhere, "names say where they come from"),
    ("stoi", r"\bstd::sto(i|l|ll|ul|ull|f|d)\b|(?<![\w:])ato(i|l|ll|f)\s*\(", everywhere, "throws or guesses; use std::from_chars"),
    ("getenv", r"\bgetenv\s*\(", product("app/", "base/"), "configuration comes in through app/"),
    ("detach", r"\.detach\s*\(\s*\)", product(), "a thread nobody joins outlives what it uses"),
]
TODO = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# Reveal() is the only way out of a Secret: a new caller is looked at by a person, then listed here.
REVEAL = re.compile(r"\bReveal\s*\(")
REVEAL_FILE = "tools/reveal_allowed.txt"


def blank(text):
    """`text` with comments and the contents of literals replaced by spaces, lines kept."""
    out = []
    i, n = 0, len(text)
    while i < n:
        c = text[i]
        if text.startswith("//", i):
            end = text.find("\n", i)
            end = n if end < 0 else end
            out.append(" " * (end - i))
            i = end
        elif text.startswith("/*", i):
            end = text.find("*/", i + 2)
            end = n if end < 0 else end + 2
            out.append(re.sub(r"[^\n]", " ", text[i:end]))
            i = end
        elif c == '"' and i > 0 and text[i - 1] == "R":
            close = ")" + text[i + 1:text.index("(", i)] + '"'
            end = text.find(close, i)
            end = n if end < 0 else end + len(close)
            out.append('"' + re.sub(r"[^\n]", " ", text[i + 1:end - 1]) + '"')
            i = end
        elif c == '"' or (c == "'" and not (i > 0 and text[i - 1].isalnum())):
            end = i + 1
            while end < n and text[end] != c and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            end = min(end + 1, n)
            out.append(c + " " * max(0, end - i - 2) + c)
            i = end
        else:
            out.append(c)
            i += 1
    return "".join(out)


def awaited(code):
    """Yields (offset, text) of the argument lists that follow each co_await, up to the statement's end."""
    for match in re.finditer(r"\bco_await\b", code):
        depth = 0
        for end in range(match.end(), len(code)):
            c = code[end]
            if c in "([{":
                depth += 1
            elif c in ")]}":
                depth -= 1
                if depth < 0:
                    break
            elif c == ";" and depth == 0:
                break
            elif c == "{" and depth == 0:
                break
        yield match.start(), code[match.end():end]


def co_await_findings(code):
    """Braced temporaries and capturing lambdas inside a co_await expression (line, why).

    Some compilers destroy such temporaries twice; named on the line above they are safe everywhere.
    What owns nothing is let through: `{}` and a span over one thing, `{&x, 1}`.
    """
    found = []
    for offset, text in awaited(code):
        line = code.count("\n", 0, offset) + 1
        parens = text.find("(")
        if parens < 0:
            continue
        arguments = re.sub(r"\{\s*(&\w+, \d+)?\s*\}", "0", text[parens:])
        if re.search(r"[(,]\s*\[[^\]\s][^\]]*\]\s*(\(|\{|mutable)", arguments):
            found.append((line, "a capturing lambda inside a co_await expression: name it on the line above"))
        elif re.search(r"[(,]\s*(?:[\w:]+(?:<[^()<>]*>)?\s*)?\{", arguments):
            found.append((line, "a braced temporary inside a co_await expression: name it on the line above"))
    return found


def long_functions(code):
    """(line, length) of the definitions at namespace level that are longer than the bound."""
    found = []
    start, depth = None, 0
    for number, line in enumerate(code.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "namespace")):
            continue
        if start is None:
            start = number
        depth += line.count("{") - line.count("}")
        if depth <= 0 and line.rstrip().endswith(("}", ";")):
            if line.rstrip() == "}" and number - start > MOST_FUNCTION_LINES:
                found.append((start, number - start))
            start, depth = None, 0
    return found


def check_text(path, text, reveal_allowed=()):
    """Errors and warnings for one file; `path` is relative to src/."""
    errors, warnings = [], []
    lines = text.splitlines()
    code = blank(text)
    for number, (line, bare) in enumerate(zip(lines, code.splitlines()), 1):
        if TODO.search(line):
            errors.append((number, "no notes to self in the tree: do it, or open an issue"))
        excused = re.search(r"// style: ([\w-]+) ok, \S", line)
        for name, pattern, applies, reason in RULES:
            if applies(path) and re.search(pattern, bare) and not (excused and excused.group(1) == name):
                errors.append((number, f"{reason} [{name}]"))
        if REVEAL.search(bare) and not TESTS.search(path) and path not in reveal_allowed:
            errors.append((number, f"a new caller of Reveal(): review it and add {path} to {REVEAL_FILE}"))
    errors += co_await_findings(code)
    if len(lines) > MOST_FILE_LINES:
        warnings.append((1, f"{len(lines)} lines; aim below {MOST_FILE_LINES}"))
    warnings += [(n, f"a function of {k} lines; aim below {MOST_FUNCTION_LINES}") for n, k in long_functions(code)]
    return errors, warnings


def main():
    root = Path(__file__).resolve().parent.parent
    allowed = {line.split("#")[0].strip() for line in (root / REVEAL_FILE).read_text(encoding="utf-8").splitlines()}
    failed = 0
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        name = path.relative_to(root / "src").as_posix()
        errors, warnings = check_text(name, path.read_text(encoding="utf-8"), allowed)
        failed += len(errors)
        for number, why in errors:
            print(f"src/{name}:{number}: {why}")
        for number, why in warnings:
            print(f"src/{name}:{number}: warning: {why}")
    print(f"style: {failed} errors" if failed else "style: ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
