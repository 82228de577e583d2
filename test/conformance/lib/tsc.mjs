// TypeScript's word on values: whether JSON has the type that Stripe's own client gives it.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const kModules = path.resolve(import.meta.dirname, "../../node_modules");

// `values`: [{name, type, json}]. The compiler's complaints under --strict, each with the line at fault; "" for none.
export async function typeCheck(values, dir) {
  const lines = ['import type Stripe from "stripe";'];
  values.forEach(({ name, type, json }, i) => {
    lines.push(`// ${name}`, `export const x${i}: ${type} = ${JSON.stringify(json, untyped, 1)};`.replaceAll('"@untyped"', "(null as never)"));
  });
  const text = `${lines.join("\n")}\n`;
  fs.writeFileSync(path.join(dir, "values.ts"), text);
  fs.writeFileSync(path.join(dir, "package.json"), '{"type":"module"}');
  fs.rmSync(path.join(dir, "node_modules"), { force: true });
  fs.symlinkSync(kModules, path.join(dir, "node_modules"));
  const compilerOptions = { strict: true, noEmit: true, skipLibCheck: true, module: "nodenext", moduleResolution: "nodenext", target: "es2023", types: [] };
  fs.writeFileSync(path.join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["values.ts"] }));
  const said = await new Promise((resolve) => {
    execFile(process.execPath, [path.join(kModules, "typescript/bin/tsc"), "-p", dir, "--pretty", "false"], { maxBuffer: 64 << 20 }, (error, stdout, stderr) => resolve(stdout + stderr));
  });
  const source = text.split("\n");
  const nameOf = (line) => source.slice(0, line).findLast((one) => one.startsWith("// "));
  return said.replaceAll(/^\S*values\.ts\((\d+),\d+\)/gm, (all, line) => `${nameOf(Number(line))}: ${source[Number(line) - 1].trim()}:`);
}

// Decimals, which the client turns into objects of its own; and of what a change has replaced the parts of
// objects and the nulls of what was not there, neither of which its type knows.
function untyped(key, value) {
  if (key.endsWith("_decimal") && typeof value === "string") return "@untyped";
  if (key !== "previous_attributes") return value;
  const partial = (one) => one === null || (typeof one === "object" && !Array.isArray(one));
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, partial(one) ? "@untyped" : one]));
}
