import { stat } from "node:fs/promises";
import { type LoadHook, type ResolveHook, register as registerHooks } from "node:module";
import { dirname, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { SpecError } from "../errors.ts";
import { describeValue, isRecord } from "../wire/json.ts";
import { isOperator, type Operator } from "./define-operator.ts";

/**
 * Evaluates a run.ts and returns its default export.
 *
 * @throws SpecError if the file is missing, fails to evaluate, or does not export an operator as default.
 */
export async function loadOperator(runFile: string): Promise<Operator> {
  if (!(await isFile(runFile))) {
    throw new SpecError("STEMLINE_OPERATOR_FILE_MISSING", `${runFile}: expected a run.ts, got no such file`);
  }
  const exported = defaultExport(await evaluate(runFile));
  if (isOperator(exported)) return exported;
  throw new SpecError(
    "STEMLINE_OPERATOR_EXPORT",
    `${runFile}: expected "export default defineOperator({ ... })", got ${describeValue(exported)} as default export`,
  );
}

async function evaluate(runFile: string): Promise<unknown> {
  findThisPackage();
  if (!stripsTypes(runFile)) await readTypeScript();
  try {
    return await import(pathToFileURL(runFile).href);
  } catch (cause) {
    const text = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    // Node puts the files that led to a missing module into the message itself.
    const [reason] = text.split("\nRequire stack:");
    const message = `${runFile}: cannot be evaluated: ${reason}${hintFor(text, runFile)}`;
    throw new SpecError("STEMLINE_OPERATOR_EVALUATION", message, { cause });
  }
}

/** What to do about a module that is not there; empty for other reasons. */
function hintFor(reason: string, runFile: string): string {
  if (/Cannot find (module|package) .*(\/distiller\/index\.|stemline\/distiller)/.test(reason)) {
    return "\nThis image lacks stemline/distiller: its Containerfile needs FROM distiller-streaming.";
  }
  return /Cannot find package/.test(reason)
    ? `\nPackages of package.json are installed with: npm install --prefix ${dirname(runFile)}`
    : "";
}

let findsThisPackage = false;

/**
 * From here on, `import "stemline"` finds this package also from where Node does not: a folder outside of every package, or
 * one with a package.json of its own for its dependencies.
 */
function findThisPackage(): void {
  if (findsThisPackage) return;
  findsThisPackage = true;
  const home = `const home = ${JSON.stringify(import.meta.url)};`;
  registerHooks(`data:text/javascript,${encodeURIComponent(`${home} export ${resolve.toString()}`)}`);
}

/** Defined where the hook runs, in the thread of the hooks: a module of this package. */
declare const home: string;

const resolve: ResolveHook = async function resolve(specifier, context, nextResolve) {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    if (!/^stemline(\/|$)/.test(specifier)) throw error;
    return nextResolve(specifier, { ...context, parentURL: home });
  }
};

let readsTypeScript: Promise<void> | null = null;

/**
 * From here on, `import` reads TypeScript. One hook for the whole process, so that operators share this package's modules:
 * tsx's import of a single file would load and transform all of them again for each operator, which takes seconds.
 */
function readTypeScript(): Promise<void> {
  readsTypeScript ??= registerTypeScript();
  return readsTypeScript;
}

async function registerTypeScript(): Promise<void> {
  // Loaded here: Node 22.18 and later do without, and so do the images.
  const { register } = await import("tsx/esm/api");
  register();
  registerHooks(`data:text/javascript,export ${encodeURIComponent(load.toString())}`);
}

/**
 * Has Node read dependencies, which need no transformation: tsx would look through all of them, which for the 4 MB of
 * h5wasm takes four seconds. And has TypeScript taken for a module whatever its package says: tsx would turn it into a
 * CommonJS module, and Node refuses the cycle when that imports this package. Runs in the thread of the hooks, where there
 * is nothing else of this module.
 */
const load: LoadHook = function load(url, context, nextLoad) {
  const { pathname } = new URL(url);
  if (pathname.endsWith(".ts")) return nextLoad(url, { ...context, format: "module" });
  if (context.format !== "module" || !/\/node_modules\/.*\.m?js$/.test(pathname))
    return nextLoad(url, context);
  const source = process.getBuiltinModule("node:fs").readFileSync(new URL(url));
  return { format: "module", source, shortCircuit: true };
};

/** True where Node itself runs TypeScript: from 22.18 and 23.6 on, but never for files inside node_modules. */
function stripsTypes(runFile: string): boolean {
  const inDependency = runFile.split(sep).includes("node_modules");
  return !inDependency && "typescript" in process.features && process.features.typescript !== false;
}

function defaultExport(module: unknown): unknown {
  return isRecord(module) ? module.default : undefined;
}

async function isFile(path: string): Promise<boolean> {
  const entry = await stat(path).catch(() => null);
  return entry?.isFile() ?? false;
}
