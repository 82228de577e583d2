"""A checker that passes everything is worse than none: each rule is shown one breach and one good line."""

import tempfile
import unittest
from pathlib import Path

import check_layers
import check_style
import count_tests

LAYERS = """
base  <
codec < base
db    < base
app   < *
testing < *
only: sqlite3.h -> db/sqlite.cc
only: boost/asio -> app
only: license/issuer.h -> app
license < base
"""


class LayersTest(unittest.TestCase):
    def setUp(self):
        self.layers = check_layers.Layers(LAYERS)

    def test_table(self):
        for path, header, allowed in [
            ("codec/json.cc", "base/error.h", True),
            ("base/error.h", "codec/json.h", False),
            ("codec/json.cc", "codec/uint256.h", True),
            ("app/main.cc", "codec/json.h", True),
            ("nowhere/a.cc", "base/error.h", False),
            ("db/sqlite.cc", "sqlite3.h", True),
            ("db/postgres.cc", "sqlite3.h", False),
            ("app/main.cc", "boost/asio.hpp", True),
            ("app/main.cc", "boost/asio/post.hpp", True),
            ("codec/json.cc", "boost/asio.hpp", False),
            ("codec/json.cc", "boost/asio/post.hpp", False),
            ("codec/json.cc", "boost/json.hpp", True),
            ("license/issuer.cc", "license/issuer.h", True),
            ("codec/json.cc", "testing/fuzz.h", False),
            ("app/main.cc", "testing/fuzz.h", False),
            ("codec/json_test.cc", "testing/fuzz.h", True),
            ("codec/json_fuzz.cc", "testing/fuzz.h", True),
            ("codec/json_test.cc", "db/pool.h", False),
            ("codec/json.cc", "sys/socket.h", True),
        ]:
            with self.subTest(path=path, header=header):
                self.assertEqual(self.layers.breach(path, header) is None, allowed)

    def test_reads_the_tree(self):
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top) / "base"
            folder.mkdir()
            (folder / "a.h").write_text('#pragma once\n#include "codec/json.h"\n#include "b.h"\n')
            found = check_layers.check(Path(top), self.layers)
        self.assertEqual(len(found), 2)
        self.assertTrue(found[0].startswith("src/base/a.h:2:"))

    def test_a_row_with_an_unknown_folder_is_refused(self):
        with self.assertRaises(ValueError):
            check_layers.Layers("base < nowhere\n")


class StyleTest(unittest.TestCase):
    def errors(self, text, path="codec/json.cc"):
        return [why for _, why in check_style.check_text(path, text)[0]]

    def test_each_ban_bites_and_spares(self):
        for bad, good in [
            ("  assert(x);", "  static_assert(x);"),
            ("  std::cout << 1;", "  out << 1;"),
            ("  auto t = std::chrono::system_clock::now();", "  auto t = clock.Now();"),
            ("  auto t = time(nullptr);", "  auto t = deadline.time(nullptr_t);"),
            ("  int x = rand();", "  int x = operand();"),
            ("  std::random_device d;", "  Rng& d = rng;"),
            ("  int x = std::stoi(s);", "  int x = ToInt(s);"),
            ("  // TODO: later", "  // later"),
            ("  x = secret.Reveal();", "  x = secret.size();"),
            ("  co_await pool.Write([r](Tx& t) { f(r); }, by);", "  co_await pool.Write(body, by);"),
            ("  co_await f({a, b});", "  co_await f(a, b);"),
            ("  co_await f(Agg{.x = 1});", "  co_await f(std::string(\"{a}\"));"),
            ("  PTG_CO_TRY(x, co_await f(\n      Agg{1}));", "  PTG_CO_TRY(x, co_await f(y));\n  Agg z{1};"),
            ("  co_await f(Agg{.x = 1}, {});", "  co_await f({}, {&x, 1});"),
        ]:
            with self.subTest(bad=bad):
                self.assertTrue(self.errors(bad))
                self.assertEqual(self.errors(good), [])

    def test_money_folders_have_no_floats(self):
        self.assertTrue(self.errors("double x;", "ledger/ledger.cc"))
        self.assertEqual(self.errors("double x;", "obs/metrics.cc"), [])
        self.assertEqual(self.errors("// a double spend", "ledger/ledger.cc"), [])

    def test_comments_and_strings_are_not_code(self):
        self.assertEqual(self.errors('// assert(x)\nauto s = "assert(x) rand()"; /* rand() */'), [])
        self.assertEqual(self.errors('auto s = R"({ rand() })";'), [])
        self.assertTrue(self.errors("auto n = 1'000; int x = rand();"))

    def test_an_excuse_needs_its_rule_and_a_reason(self):
        self.assertEqual(self.errors("rand();  // style: random ok, a test of rand itself"), [])
        self.assertTrue(self.errors("rand();  // style: clock ok, wrong rule"))
        self.assertTrue(self.errors("rand();  // style: random ok,"))

    def test_long_things_are_warned_about(self):
        body = "void F(\n    int x) {\n" + "  x = 1;\n" * 80 + "}\n"
        self.assertEqual(len(check_style.check_text("codec/a.cc", body)[1]), 1)
        data = "const Row kRows[] = {\n" + "    {1},\n" * 80 + "};\n"
        self.assertEqual(check_style.check_text("codec/a.cc", data)[1], [])
        short = "void F() {\n  x = 1;\n}\n\n" * 30
        self.assertEqual(check_style.check_text("codec/a.cc", short)[1], [])
        self.assertEqual(len(check_style.check_text("codec/a.cc", "int x;\n" * 501)[1]), 1)


class CountTest(unittest.TestCase):
    def count(self, xml):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(xml)
            file.flush()
            return count_tests.verdict(list(count_tests.cases(file.name)), None)[:2]

    def test_skipped_is_failed_and_nothing_is_failed(self):
        self.assertEqual(self.count('<t><testcase name="a"/><testcase name="b"/></t>'), (2, 0))
        self.assertEqual(self.count('<t><testcase name="a"><failure/></testcase></t>'), (0, 1))
        self.assertEqual(self.count('<t><testcase name="a"><skipped/></testcase></t>'), (0, 1))
        self.assertEqual(self.count('<t><testcase name="a" status="notrun"/></t>'), (0, 1))
        self.assertEqual(self.count("<t></t>"), (0, 1))

    def test_an_engine_that_was_not_there_fails_the_run(self):
        found = [("store.sqlite", None)]
        self.assertEqual(count_tests.verdict(found, "postgres")[1], 1)
        self.assertEqual(count_tests.verdict(found + [("x/Postgres", None)], "postgres")[1], 0)

    def test_a_crash_is_counted_though_its_cases_passed(self):
        with tempfile.TemporaryDirectory() as top:
            Path(top, "ctest.xml").write_text(
                '<t><testcase name="a_test" status="fail"/><testcase name="b_test" status="run"/></t>')
            Path(top, "b_test.xml").write_text('<t><testcase name="x"/><testcase name="y"/></t>')
            found = count_tests.count_ctest(Path(top, "ctest.xml"), top)
        self.assertEqual(count_tests.verdict(found, None)[:2], (2, 1))


if __name__ == "__main__":
    unittest.main()
