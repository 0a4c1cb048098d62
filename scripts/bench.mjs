// Builds and runs the benchmarks: the native core's, then the same work through Node. See docs/benchmarks.md.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const usage = `npm run bench -- [--markdown | --json] [--seconds S] [--only PART]...
  --markdown   tables for docs/benchmarks.md
  --json       machine-readable output
  --seconds S  measuring time of each figure, default 0.3
  --only PART  only this part: stream, kernels, headers, npz, partial, reduce, node-partial, node-reduce, node-files`;

const nodeParts = ["node-partial", "node-reduce", "node-files"];
const nativeParts = ["stream", "kernels", "headers", "npz", "partial", "reduce"];

const plain = {
  facts: (machine) =>
    Object.entries(machine)
      .map(([name, value]) => `${name.padEnd(15)} ${value}`)
      .join("\n"),
  section(section) {
    const lines = [section.columns.map(({ title }) => title), ...table(section)];
    const widths = section.columns.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
    const text = lines.map((line) =>
      line
        .map((cell, i) =>
          section.columns[i].digits === null ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
        )
        .join("  ")
        .trimEnd(),
    );
    text.splice(1, 0, "-".repeat(text[0].length));
    return [section.title, ...section.notes, ...text].join("\n");
  },
};

const markdown = {
  facts: (machine) =>
    ["| | |", "|---|---|", ...Object.entries(machine).map(([name, value]) => `| ${name} | ${value} |`)].join(
      "\n",
    ),
  section(section) {
    const row = (cells) => `| ${cells.join(" | ")} |`;
    const lines = [
      row(section.columns.map(({ title }) => title)),
      `|${section.columns.map(({ digits }) => (digits === null ? "---" : "---:")).join("|")}|`,
      ...table(section).map(row),
    ];
    return [`### ${section.title}`, "", section.notes.join(" "), "", ...lines].join("\n");
  },
};

const root = fileURLToPath(new URL("..", import.meta.url));
const settings = readSettings();
const native = settings.only.filter((part) => nativeParts.includes(part));
const throughNode = settings.only.filter((part) => nodeParts.includes(part));
const all = settings.only.length === 0;

build();
// The limit stands beside every figure, whatever was chosen.
const nativeChosen = all ? [] : ["stream", ...native.filter((part) => part !== "stream")];
const report = run("build-bench/test/bench/stemline_bench", ["--json", ...chosen(nativeChosen)]);
if (all || throughNode.length > 0) {
  const script = ["--expose-gc", "--import", "tsx", "test/bench/node-bench.ts"];
  const { machine, sections } = run(process.execPath, [...script, ...chosen(throughNode)]);
  report.machine = { ...report.machine, ...machine };
  report.sections.push(...sections);
}
report.machine = { ...report.machine, "stream read": streamText(report), commit: commitText() };

if (settings.json) {
  console.log(JSON.stringify(report));
} else {
  const print = settings.markdown ? markdown : plain;
  console.log(print.facts(report.machine));
  for (const section of report.sections) console.log(`\n${print.section(section)}`);
}

function readSettings() {
  try {
    const { values } = parseArgs({
      options: {
        markdown: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        seconds: { type: "string", default: "0.3" },
        only: { type: "string", multiple: true, default: [] },
        help: { type: "boolean", default: false },
      },
    });
    const unknown = values.only.find((part) => !nativeParts.includes(part) && !nodeParts.includes(part));
    if (unknown !== undefined) throw new Error(`--only: there is no part "${unknown}"`);
    if (!(Number(values.seconds) > 0))
      throw new Error(`--seconds: expected a number above 0, got "${values.seconds}"`);
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    return values;
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    process.exit(1);
  }
}

function build() {
  const quiet = { cwd: root, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" };
  const steps = [
    ["-S", ".", "-B", "build-bench", "-DCMAKE_BUILD_TYPE=Release"],
    ["--build", "build-bench", "--target", "stemline_bench", "--parallel", "2"],
  ];
  for (const step of steps) {
    const { status, stdout, error } = spawnSync("cmake", step, quiet);
    if (status === 0) continue;
    console.error(error === undefined ? stdout : `cmake could not be started: ${error.message}`);
    process.exit(1);
  }
}

function chosen(parts) {
  return ["--seconds", settings.seconds, ...parts.flatMap((part) => ["--only", part])];
}

function run(command, args) {
  const options = { cwd: root, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", maxBuffer: 1 << 26 };
  const { status, stdout, error } = spawnSync(command, args, options);
  if (status !== 0) {
    console.error(`${command} failed${error === undefined ? "" : `: ${error.message}`}`);
    process.exit(1);
  }
  return JSON.parse(stdout);
}

function streamText({ sections }) {
  const { rows } = sections.find(({ name }) => name === "stream");
  return rows
    .map(([level, , best]) => `${level} ${best.toFixed(0)}`)
    .join(", ")
    .concat(" GB/s");
}

function commitText() {
  const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const { status, stdout } = git("rev-parse", "--short", "HEAD");
  if (status !== 0) return "unknown";
  return (
    stdout.trim() + (git("status", "--porcelain", "native", "src").stdout === "" ? "" : ", with changes")
  );
}

function cellText(cell, { digits }) {
  if (cell === null) return "";
  return typeof cell === "number" ? cell.toFixed(digits ?? 0) : cell;
}

function table({ columns, rows }) {
  return rows.map((row) => row.map((cell, i) => cellText(cell, columns[i])));
}
