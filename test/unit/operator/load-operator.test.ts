import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { loadOperator } from "../../../src/operator/load-operator.ts";
import { importStemline, operatorFolder } from "./operator-folder.ts";

const sound = `${importStemline}
interface State { readonly seen: number }
export default stemline.defineOperator({
  inputs: ["in"],
  parameters: { crop: stemline.integer({ default: 3 }) },
  setup: (): State => ({ seen: 0 }),
  run: (message) => message,
});
`;

function load(run: string, files: Readonly<Record<string, string>> = {}) {
  return loadOperator(join(operatorFolder({ "run.ts": run, ...files }), "run.ts"));
}

async function failure(run: string): Promise<SpecError> {
  const error = await load(run).catch((error: unknown) => error);
  if (error instanceof SpecError) return error;
  throw new Error("expected a SpecError", { cause: error });
}

describe("loadOperator", () => {
  it("evaluates TypeScript and gives the default export", async () => {
    const operator = await load(sound);
    expect(operator.inputs).toEqual(["in"]);
    expect(operator.parameters).toEqual({ crop: { type: "int", default: 3 } });
  });

  it("takes a run.ts outside a package of type module", async () => {
    const operator = await load(sound, { "package.json": "{}" });
    expect(operator.inputs).toEqual(["in"]);
  });

  it("evaluates modules beside run.ts", async () => {
    const operator = await load(`import operator from "./rest.ts";\nexport default operator;\n`, {
      "rest.ts": sound,
    });
    expect(operator.inputs).toEqual(["in"]);
  });

  it("takes a run.ts inside node_modules, which Node itself would not read", async () => {
    const folder = operatorFolder({ "node_modules/some-operator/run.ts": sound });
    const operator = await loadOperator(join(folder, "node_modules/some-operator/run.ts"));
    expect(operator.inputs).toEqual(["in"]);
  });

  it("says how a package that is missing is installed", async () => {
    const { message } = await failure(`import "no-such-package-at-all";\n${sound}`);
    expect(message).toMatch(/Cannot find package 'no-such-package-at-all'.*\n.*: npm install --prefix \S+$/);
  });

  it("names a file that is not there", async () => {
    const file = join(operatorFolder({}), "run.ts");
    await expect(loadOperator(file)).rejects.toThrow(
      new SpecError("STEMLINE_OPERATOR_FILE_MISSING", `${file}: expected a run.ts, got no such file`),
    );
  });

  it.each([
    ["export const x = 1;", "nothing"],
    ["export default { run: () => null };", "an object"],
    ["export default () => null;", "a function"],
  ])("refuses %s", async (run, got) => {
    const error = await failure(run);
    expect(error.code).toBe("STEMLINE_OPERATOR_EXPORT");
    expect(error.message).toMatch(/run\.ts: expected "export default defineOperator\(\{ \.\.\. \}\)", got /);
    expect(error.message).toContain(`got ${got} as default export`);
  });

  it.each([
    {
      title: "a thrown error",
      run: 'throw new RangeError("no such table");',
      cause: "RangeError: no such table",
    },
    { title: "a thrown text", run: 'throw "no such table";', cause: "no such table" },
    { title: "a syntax error", run: "const x: number = = 3;", cause: "run.ts:1:" },
    { title: "a missing module", run: 'import "./nowhere.ts";', cause: "nowhere.ts" },
    { title: "a missing package", run: 'import "no-such-package";', cause: "no-such-package" },
  ])("says the cause of $title and no stack", async ({ run, cause }) => {
    const error = await failure(run);
    expect(error.code).toBe("STEMLINE_OPERATOR_EVALUATION");
    expect(error.message).toContain("run.ts: cannot be evaluated: ");
    expect(error.message).toContain(cause);
    expect(error.message).not.toMatch(/^\s+at /m);
    expect(error.cause).toBeDefined();
  });
});
