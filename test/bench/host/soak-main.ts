// Runs the soak test and exits with 1 if something was lost or memory grew. See docs/benchmarks.md, "Operator process".
import { parseArgs } from "node:util";
import buildIfStale from "../../global-setup.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "600" } } });
const seconds = Number(values.seconds);
if (!(seconds >= 10)) {
  console.error(`--seconds: expected a number from 10 up, got "${values.seconds}"`);
  process.exit(1);
}
buildIfStale();
const { problems, counts, ...figures } = await soak(seconds, (text) => console.error(text));
for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(16)} ${Math.round(value)}`);
for (const problem of problems) console.error(`VIOLATED: ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;
